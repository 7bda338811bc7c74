"""Networks that `pysot export` wrote, run by ONNX Runtime or OpenVINO, without PyTorch.

B batch, T templates, S side of a crop, A anchors, R response side. The folder is described in
``docs/export.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.tracker.network import Network, flat, map_kernels, select
from toolkit.io.files import sha256_of
from toolkit.io.names import first_line
from toolkit.io.packages import load_package

RECORD = "model.json"
FORMAT = 1
"""Of the layout of ``model.json``."""
DIGEST = "sha256_record"

Run = Callable[[Mapping[str, NDArray]], Mapping[str, NDArray]]
"""Computes a graph's outputs from its inputs, both by name."""


def read_record(folder: str | Path) -> dict[str, Any]:
    """Read ``model.json`` of an exported tracker, and compare its files with it.

    Raises:
        FileNotFoundError: If it or one of its files is missing.
        ValueError: If one is damaged, or is not of this tracker.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no exported tracker: it has no {RECORD}")
    try:
        record = json.loads(path.read_bytes())
        form, digest = (record.get("format"), record.get("graphs")), record.pop(DIGEST, None)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if form != (FORMAT, "onnx"):
        wanted = f"format {FORMAT} with graphs of onnx, as pysot export --format onnx writes"
        found = "format {} with graphs of {}".format(*form)
        raise ValueError(f"{path}: expected {wanted}; found {found}")
    if digest != digest_of(record):
        raise ValueError(
            f"{path} is damaged, or was edited; change settings by overrides, or export again"
        )
    for name, file in record["files"].items():
        _check_file(Path(folder) / file, record["sha256_files"][name])
    return record


def digest_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record as read from JSON, without its entry ``DIGEST``."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _check_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; export the tracker again")
    if sha256_of(path) != expected:
        raise ValueError(
            f"{path} is damaged, or of another tracker: its SHA-256 is not that in {RECORD}"
        )


def run_onnxruntime(path: Path, threads: int = 1) -> Run:
    """Load an ONNX file into ONNX Runtime, on the CPU."""
    runtime = load_package("onnxruntime", "onnxruntime", "TRACK.BACKEND onnxruntime needs")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def run_openvino(path: Path, threads: int = 1) -> Run:
    """Load an ONNX file into OpenVINO, on the CPU; kernels must be those of one template."""
    openvino = load_package("openvino", "openvino", "TRACK.BACKEND openvino needs")
    core = openvino.Core()
    model = core.read_model(path)
    shapes = {node.any_name: node.partial_shape for node in model.inputs}
    for name, shape in shapes.items():
        if name.startswith("kernel"):
            shape[0] = 1  # it has no convolution whose weights are of any shape
    model.reshape(shapes)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, **hints})

    def run(inputs: Mapping[str, NDArray]) -> Mapping[str, NDArray]:
        found = compiled(dict(inputs), share_inputs=True)
        return {name: array for output, array in found.items() for name in output.names}

    return run


BACKENDS: dict[str, Callable[[Path, int], Run]] = {
    "onnxruntime": run_onnxruntime,
    "openvino": run_openvino,
}


class ExportedNetwork(Network):
    """Runs the graphs of a folder.

    Args:
        folder: The folder.
        record: Its ``model.json``, see :func:`read_record`.
        backend: A name in ``BACKENDS``.
        threads: Threads of one pass.

    Raises:
        ImportError: If the backend is not installed.
        ValueError: If it cannot read a graph.
    """

    def __init__(
        self, folder: str | Path, record: Mapping[str, Any], backend: str, threads: int = 1
    ) -> None:
        self.folder, self.record = Path(folder), record
        self._runs = {
            name: self._guarded(BACKENDS[backend], self.folder / Path(file).name, threads)
            for name, file in record["files"].items()
        }

    def encode(self, crops: NDArray) -> Any:
        """See :meth:`Network.encode`."""
        found = self._run("template", {"template": _images(crops)})
        return map_kernels(lambda name: found[name], self.record["kernels"])

    def search(self, kernels: Any, crops: NDArray, masks: bool = False) -> Any:
        """See :meth:`Network.search`; returns scores, deltas or None, and maps for masks."""
        if masks and not self.record.get("mask"):
            raise ValueError(f"{self.folder}: this network was exported without masks")
        sizes = self.record.get("search_sizes")
        if sizes and crops.shape[1] not in sizes:
            raise ValueError(
                f"TRACK.INSTANCE_SIZE: {self.folder} takes search images of {sizes[0]} pixels "
                f"alone, found {crops.shape[1]}"
            )
        inputs = dict(zip(flat(self.record["kernels"]), flat(kernels), strict=True))
        if any(len(kernel) > 1 for kernel in inputs.values()):  # as fast as all in one pass
            ones = [
                self.search(select(kernels, n), crops[n : n + 1], masks) for n in range(len(crops))
            ]
            return map_kernels(lambda *arrays: np.concatenate(arrays), *ones)
        found = self._run("search", {"search": _images(crops), **inputs})
        parts = [found[name] for name in self.record.get("mask", ())]
        return (found["scores"], found.get("deltas"), *parts)

    def outputs(self, prediction: Any) -> tuple[NDArray, NDArray | None]:
        """See :meth:`Network.outputs`."""
        scores, deltas = prediction[:2]
        if deltas is None:
            return scores, None
        return scores.reshape(len(scores), -1), deltas.reshape(len(deltas), 4, -1)

    def refine(self, prediction: Any, position: tuple[int, int]) -> NDArray:
        """See :meth:`Network.refine`."""
        maps = dict(zip(self.record["mask"], prediction[2:], strict=True))
        logits = self._run("refine", {**maps, "position": np.array(position, np.int64)})["mask"]
        return 0.5 + 0.5 * np.tanh(0.5 * logits)  # the sigmoid, without overflow

    def repeated(self, arrays: Sequence[NDArray], repeats: int) -> NDArray:
        """See :meth:`Network.repeated`."""
        return np.repeat(np.concatenate(arrays), repeats, axis=0)

    def _run(self, name: str, inputs: Mapping[str, NDArray]) -> Mapping[str, NDArray]:
        return self._guarded(self._runs[name], inputs)

    def _guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of a backend, whose errors are of classes of its own."""
        try:
            return function(*args)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            raise ValueError(
                f"{self.folder}: a graph cannot be run: {first_line(error)}"
            ) from error


def _images(crops: NDArray) -> NDArray:
    """Return crops as (B, 3, S, S) float32."""
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
