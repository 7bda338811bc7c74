"""Accuracy and robustness of reset-based sets under PySOT's names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.evaluation import VIDEO_TABLE_LIMIT, wants_color
from toolkit.evaluation.report import metric_table, video_table
from toolkit.evaluation.reset_evaluation import BURNIN, ResetEvaluation

AR = ("accuracy", "robustness", "lost_number")


class AccuracyRobustnessBenchmark:
    """Accuracy and robustness of VOT2016-2019; see `ResetEvaluation`.

    Args:
        dataset: The videos, and after ``set_tracker`` the trackers' names and folder.
        burnin: Frames from each start on that accuracy leaves out. (PySOT took 10 whatever was
            asked for.)
    """

    def __init__(self, dataset: Dataset, burnin: int = BURNIN) -> None:
        self.dataset, self.burnin = dataset, burnin
        self.evaluation = ResetEvaluation(dataset, burnin=burnin)

    def eval(self, eval_trackers: str | Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Overlaps and failures of trackers; None means all of the data set.

        Returns:
            By tracker ``overlaps``, by video a list with the mean over repetitions of each frame,
            NaN where there is none, and ``failures``, by video their number per repetition.
        """
        result = {}
        for name in self.evaluation.names(eval_trackers):
            measured = self.evaluation.scores(name).measures.by_video
            result[name] = {
                part: {video: values.tolist() for video, values in measured[part].items()}
                for part in ("overlaps", "failures")
            }
        return result

    def show_result(
        self,
        result: Mapping[str, Mapping[str, Any]],
        eao_result: Mapping[str, Mapping[str, float]] | None = None,
        show_video_level: bool = False,
        helight_threshold: float = 0.5,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print the table of the trackers and, below it, that of the videos, as PySOT does.

        Args:
            result: As `eval` returns it.
            eao_result: As `EAOBenchmark.eval` returns it; adds a column and ranks the trackers,
                best first. Without it all are shown, in the order given.
            show_video_level: Print the table of the videos too, for fewer than 10 trackers.
            helight_threshold: Accuracies below it are red (PySOT's spelling), as is any failure.
            top: Number of trackers in a ranked table.
            color: Use red; None only if the output is a terminal.
        """
        scores = {name: accuracy_robustness(of) for name, of in result.items()}
        order, metrics = list(scores), AR
        if eao_result is not None:
            metrics = (*AR, "eao")
            for name, of in scores.items():
                of["eao"] = eao_result[name]["all"]
            order = sorted(order, key=lambda name: scores[name]["eao"], reverse=True)[:top]
        print(metric_table({name: scores[name] for name in order}, metrics))
        if show_video_level and len(result) <= VIDEO_TABLE_LIMIT:
            videos = {name: _by_video(of) for name, of in result.items()}
            accuracy, lost = ResetEvaluation.columns
            columns = (accuracy._replace(low=helight_threshold), lost)
            print("\n\n", video_table(videos, columns, color=wants_color(color)), sep="\n")


def accuracy_robustness(result: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy, robustness and lost number of one tracker's overlaps and failures.

    Args:
        result: ``overlaps`` and ``failures`` by video, as `AccuracyRobustnessBenchmark.eval`
            returns them for a tracker.
    """
    overlaps = [np.asarray(values, np.float64) for values in result["overlaps"].values()]
    failures = sum(float(np.mean(values)) for values in result["failures"].values())
    num_frames = sum(map(len, overlaps))
    return {
        "accuracy": _mean(np.concatenate(overlaps)),
        "robustness": 100 * failures / num_frames,
        "lost_number": failures,
    }


def _by_video(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        video: {
            "accuracy": _mean(np.asarray(overlaps, np.float64)),
            "lost_number": float(np.mean(result["failures"][video])),
        }
        for video, overlaps in result["overlaps"].items()
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
