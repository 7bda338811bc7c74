"""Scores of trackers on a benchmark, from results that are not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pysot.core import RunFailed
from pysot.utils.bbox import initial_rect
from toolkit.datasets import Dataset, find_benchmark
from toolkit.evaluation import build_evaluation
from toolkit.protocols.one_pass import ProtocolOptions
from toolkit.protocols.runner import Job, run_video
from toolkit.results.store import ResultStore


def score_trackers(
    builds: Mapping[str, Callable[[], Any]], data: Dataset
) -> dict[str, dict[str, float | None]]:
    """Run trackers over a benchmark, each once.

    Args:
        builds: Makes a tracker, by name.
        data: The benchmark.

    Returns:
        By name of the tracker the metrics of the benchmark.

    Raises:
        RunFailed: If a tracker fails on a video.
    """
    benchmark = find_benchmark(data.name)
    with TemporaryDirectory() as folder:
        for name, build in builds.items():
            store = ResultStore(Path(folder) / name, benchmark.layout)
            options = ProtocolOptions(initial_rect)
            job = Job(build, benchmark.protocol, store, options, 1, overwrite=True)
            for video in data:
                if error := run_video(job, video).error:
                    raise RunFailed(f"{name} fails on {video.name} of {data.name}: {error}")
        data.set_tracker(folder, list(builds))
        evaluation = build_evaluation(data)
        for _ in evaluation.evaluate(list(builds)):
            pass
        scores = evaluation.as_data(list(builds))["trackers"]
    return {name: scores[name]["metrics"] for name in builds}
