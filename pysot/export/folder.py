"""The folder of an exported tracker: graphs, and ``model.json`` that describes them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pysot.core import RunFailed
from pysot.export.graphs import BATCH, SIDES, Graph, Graphs, make_graphs
from pysot.export.onnx_files import OPSET, write_onnx
from pysot.export.parity import LIMIT, check_parity, example_inputs
from pysot.export.quantize import Inputs, quantize
from pysot.export.torch_files import run_program, write_program
from pysot.inference import fuse_batch_norm
from pysot.tracker.exported import (
    DIGEST,
    FORMAT,
    RECORD,
    Run,
    digest_of,
    run_onnxruntime,
)
from toolkit.io.files import atomic_folder, sha256_of
from toolkit.io.names import first_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kind:
    """A kind of files."""

    suffix: str
    write: Callable[[Graph, Sequence[Tensor], Path], None]
    load: Callable[[Path, Sequence[str]], Run]  # takes the names of the outputs, too
    free: frozenset[str]  # dimensions that may have any size
    record: Mapping[str, Any]  # entries of the record


KINDS = {
    "onnx": _Kind(
        ".onnx",
        write_onnx,
        lambda path, outputs: run_onnxruntime(path),
        free=BATCH | SIDES,
        record={"graphs": "onnx", "opset": OPSET},
    ),
    "torch": _Kind(
        ".pt2",
        write_program,
        run_program,
        free=BATCH,
        record={"graphs": "torch", "torch": torch.__version__},
    ),
}


@dataclass(frozen=True)
class Source:
    """What is exported, and what is written about it."""

    model: nn.Module  # in evaluation mode, on the CPU
    config: Mapping[str, Any]  # the whole configuration
    sha256: str  # of the snapshot
    with_masks: bool  # whether the tracker makes masks
    sizes: tuple[int, int]  # sides of template and search images

    def graphs(self, model: nn.Module, free: frozenset[str]) -> Graphs:
        """Take this network, or another form of it, apart."""
        return make_graphs(model, self.with_masks, self.sizes, free)


def export(
    source: Source,
    folder: Path,
    overwrite: bool = False,
    kind: str = "onnx",
    samples: Callable[[Any], Sequence[Inputs]] | None = None,
    score: Callable[[Path], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write a network in another form, if it computes what PyTorch does; else nothing is written.

    Args:
        source: The network.
        folder: It appears whole or not at all.
        overwrite: Whether an exported tracker that is there is replaced.
        kind: A name in ``KINDS``.
        samples: Makes inputs of the search network from the names of its kernels, nested; with
            them it is written with integers of 8 bits, beside the others in fp32.
        score: Scores the folder; the result becomes the entry ``scores``.

    Returns:
        The content of ``model.json``.

    Raises:
        OSError: If the folder cannot be written.
        RunFailed: If an output of an exported graph is not PyTorch's.
        ValueError: If the folder is there, or the network lacks something.
    """
    _check_free(folder, overwrite)
    form = KINDS[kind]
    with atomic_folder(folder) as temporary:
        try:
            graphs, paths, parity = _write_graphs(source, temporary, form, form.free)
        except RunFailed as error:  # of a head that counts the images it sees
            try:
                graphs, paths, parity = _write_graphs(source, temporary, form, form.free - BATCH)
            except RunFailed:
                raise error from None
            logger.warning("%s; the files are for one image at a time", error)
        record = {"parity": parity}
        if samples is not None:
            record |= _to_integers(paths["search"], samples(graphs.kernels))
            record["int8_errors"] = _compare(source, graphs, paths, form, math.inf)
        record = _describe(source, graphs, paths) | form.record | record
        _write(temporary, record)
        if score is not None:
            record["scores"] = score(temporary)
            _write(temporary, record)
    return record


def _write_graphs(
    source: Source, folder: Path, form: _Kind, free: frozenset[str]
) -> tuple[Graphs, dict[str, Path], dict[str, float]]:
    """Write the graphs and compare them; return them, their files, and the errors of outputs."""
    graphs = source.graphs(source.model, free)
    fused = source.graphs(fuse_batch_norm(source.model), free)
    paths = {name: folder / f"{name}{form.suffix}" for name in graphs.by_name}
    batch = 2 if graphs.free >= BATCH else 1
    for name, path in paths.items():
        inputs = example_inputs(graphs, name, batch, batch, *source.sizes)
        with _one_line(path):
            form.write(fused.by_name[name], inputs, path)
    return graphs, paths, _compare(source, graphs, paths, form, LIMIT)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Raise ``RunFailed`` for what makes a file, whose errors may be of any class."""
    try:
        yield
    except (OSError, RunFailed, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = first_line(error).partition("  [")[0]
        raise RunFailed(f"{path.stem}: {path.name} cannot be written: {reason}") from error


def _compare(
    source: Source, graphs: Graphs, paths: Mapping[str, Path], form: _Kind, limit: float
) -> dict[str, float]:
    runs = {name: form.load(path, graphs.by_name[name].outputs) for name, path in paths.items()}
    return check_parity(graphs, runs, *source.sizes, limit)


def _to_integers(path: Path, samples: Sequence[Inputs]) -> dict[str, Any]:
    """Replace a search network by one of 8-bit integers; return what to write about it."""
    source = path.with_name("fp32.onnx")
    path.rename(source)
    with _one_line(path):
        quantize(source, path, samples)
    source.unlink()
    return {"precision": "int8", "calibrated_on": len(samples)}


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    record = json.loads(json.dumps(record))
    record[DIGEST] = digest_of(record)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _describe(source: Source, graphs: Graphs, paths: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "system": source.config["TRACK"]["TYPE"],
        "config": source.config,
        "plugins": source.config["PLUGINS"],
        "sha256": source.sha256,
        "precision": "fp32",
        "files": {name: path.name for name, path in paths.items()},
        "sha256_files": {name: sha256_of(path) for name, path in paths.items()},
        "kernels": graphs.kernels,
        "mask": list(graphs.mask),
        "search_sizes": None if graphs.free >= SIDES else [source.sizes[1]],
        "batch": None if graphs.free >= BATCH else 1,
    }


def _check_free(folder: Path, overwrite: bool) -> None:
    """Raise ``ValueError`` if something is there that may not be replaced."""
    if Path.cwd().is_relative_to(folder.resolve()):
        raise ValueError(f"{folder} is the current folder; choose another --output")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / RECORD).is_file():
        raise ValueError(f"{folder} is there, and no exported tracker; choose another --output")
    suffixes = [form.suffix for form in KINDS.values()]
    for path in folder.iterdir():
        if path.name not in (RECORD, ".DS_Store") and path.suffix not in suffixes:
            raise ValueError(f"{path} would be lost; choose another --output")
    if not overwrite:
        raise ValueError(f"{folder} is there; choose another --output, or --overwrite it")
