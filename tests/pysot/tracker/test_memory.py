import gc
import multiprocessing
import weakref
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.api import MultiTracker
from pysot.tracker.network import map_kernels
from pysot.tracker.tracker_builder import build_tracker, prepare_model

ROOT = Path(__file__).parents[3]
TYPES = ["SiamRPNTracker", "SiamRPNLTTracker", "DaSiamRPNTracker"]


class Frame(np.ndarray):
    """An array that can be watched; views of it are of this class too."""


def frame(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (72, 96, 3), np.uint8)
    return pixels.view(Frame)


@pytest.mark.parametrize("kind", TYPES)
def test_a_tracker_holds_no_frame(tiny_config, kind):
    cfg = load_config(tiny_config, ["TRACK.TYPE", kind])
    tracker = build_tracker(build_model(cfg), cfg)
    watched = []
    for number in range(3):
        image = frame(number)
        watched.append(weakref.ref(image))
        if number:
            tracker.track(image)
        else:
            tracker.init(image, (20, 15, 24, 18))
        del image
    gc.collect()
    assert [ref() for ref in watched] == [None, None, None]
    assert state_bytes(tracker.state) < 72 * 96 * 3 * 4


def state_bytes(state):
    """Bytes of all tensors and arrays that a state refers to; it may refer to nothing else."""
    assert is_dataclass(state)
    total = []
    for field in fields(state):
        value = getattr(state, field.name)
        if field.name == "kernels":
            map_kernels(lambda tensor: total.append(tensor.untyped_storage().nbytes()), value)
        else:
            assert not isinstance(value, (torch.Tensor, np.ndarray)), field.name
    return sum(total)


R50 = ROOT / "experiments" / "siamrpn_r50_l234_dwxcorr" / "config.yaml"
PREPARED = [pytest.param(opts, id=name) for name, opts in {
    "as built": None, "prepared": (), "without Winograd": ("TRACK.WINOGRAD", False)
}.items()]  # fmt: skip


def network(opts):
    cfg = load_config(R50, ["DEVICE", "cpu", *(opts or ())])
    model = build_model(cfg)
    return (model if opts is None else prepare_model(model, cfg)), cfg


@pytest.mark.parametrize("opts", PREPARED)
def test_a_hundred_targets_need_little_more_memory_than_one(opts):
    with torch.device("meta"):  # sizes alone count: nothing is computed
        model, _ = network(opts)
        kernels = model.encode_template(torch.zeros(1, 3, 127, 127))
    weights = sum(value.nbytes for value in model.state_dict().values())
    state = []
    map_kernels(lambda tensor: state.append(tensor.untyped_storage().nbytes()), kernels)
    one, hundred = weights + sum(state), weights + 100 * sum(state)
    assert weights > 200e6 and sum(state) > 0
    assert hundred < 1.5 * one


def resident():
    """Bytes of this process in memory at this moment, and the most there were."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return [1024 * int(values[key].split()[0]) for key in ("VmRSS", "VmHWM")]


def follow(opts, counts):
    """Track so many targets, then more, on one network; what is in memory after each count."""
    torch.set_num_threads(1)
    model, cfg = network(opts)
    many = MultiTracker(lambda: build_tracker(model, cfg))
    images = [np.random.default_rng(n).integers(0, 255, (240, 320, 3), np.uint8) for n in (0, 1)]
    found = []
    for count in counts:
        while len(many.trackers) < count:
            many.add(images[0], (20 + len(many.trackers), 30, 60, 50))
        some = MultiTracker(many.build)  # two batches need as much as all, one after the other
        some.trackers = dict(list(many.trackers.items())[: 2 * some.max_batch])
        some.track(images[1])
        gc.collect()
        found.append(resident())
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("opts", PREPARED[:2])
def test_a_hundred_targets_really_take_little_more_memory_than_one(opts):
    context = multiprocessing.get_context("spawn")  # a process of its own, to be measured alone
    with ProcessPoolExecutor(1, context) as pool:
        one, hundred = pool.submit(follow, opts, (1, 100)).result()
    print(f"{opts}: now and at most {one} with one target, {hundred} with a hundred")
    assert hundred[0] < 1.5 * one[0]
    assert hundred[1] < 1.5 * one[1]
