"""Processes that train together, without a launcher: forked, so that they start at once."""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback

import torch._dynamo
import torch.distributed.fsdp  # noqa: F401 - imported by DistributedDataParallel, for seconds: once

CONTEXT = multiprocessing.get_context("fork")


def start_ranks(function, number=2):
    """Call ``function(rank)`` in processes with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        CONTEXT.Process(target=_work, args=(function, rank, number, port), daemon=False)
        for rank in range(number)
    ]
    for process in processes:
        process.start()
    return processes


def run_ranks(function, number=2, timeout=120):
    """Do so, and wait; returns the exit codes."""
    processes = start_ranks(function, number)
    return wait_for(processes, timeout)


def wait_for(processes, timeout=120):
    """Wait for processes to end; returns their exit codes. What hangs is killed and an error."""
    for process in processes:
        process.join(timeout)
    hanging = [number for number, process in enumerate(processes) if process.is_alive()]
    for number in hanging:
        os.kill(processes[number].pid, signal.SIGUSR1)  # says where it waits
        time.sleep(1)
    kill(processes)
    assert not hanging, f"processes {hanging} did not end within {timeout} s"
    return [process.exitcode for process in processes]


def kill(processes):
    """End processes as a power failure would."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.join()


def _work(function, rank, number, port):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(number),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    try:
        function(rank)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
