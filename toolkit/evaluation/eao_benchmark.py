"""Expected average overlap of reset-based sets under PySOT's names."""

from collections.abc import Mapping, Sequence

from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.report import tag_table
from toolkit.evaluation.reset_evaluation import SKIPPING, ResetEvaluation

#: Most common length in frames of a year's videos, by the window that was chosen around it.
PEAKS = {(108, 371): 168, (100, 356): 160, (46, 291): 128}


class EAOBenchmark:
    """Expected average overlap (EAO) of VOT2016-2019; see `ResetEvaluation`.

    Args:
        dataset: The videos, and after ``set_tracker`` the trackers' names and folder.
        skipping: Frames from a failure to the next start.
        tags: Tags of frames to score by, of ``dataset.tags``.

    Attributes:
        low: First sequence length, in frames, of those that EAO averages over.
        high: Last of them.
        peak: The most common length of the benchmark's videos; None if nobody says.

    Raises:
        ValueError: If there is no such tag.
    """

    def __init__(
        self, dataset: Dataset, skipping: int = SKIPPING, tags: Sequence[str] = ("all",)
    ) -> None:
        for tag in tags:
            if tag not in dataset.tags:
                raise ValueError(f"unknown tag {tag!r}; there are: {', '.join(dataset.tags)}")
        self.dataset, self.skipping, self.tags = dataset, skipping, list(tags)
        self.evaluation = ResetEvaluation(dataset, skipping=skipping)
        self.low, self.high = dataset.benchmark.eao_window
        self.peak = PEAKS.get((self.low, self.high))

    def eval(self, eval_trackers: str | Sequence[str] | None = None) -> dict[str, dict[str, float]]:
        """EAO by tracker and tag; None means all trackers of the data set."""
        return {
            name: {tag: self.evaluation.scores(name).attributes[tag]["eao"] for tag in self.tags}
            for name in self.evaluation.names(eval_trackers)
        }

    def show_result(self, result: Mapping[str, Mapping[str, float]], topk: int = 10) -> None:
        """Print the table of EAO by tag, as PySOT does.

        Args:
            result: As `eval` returns it.
            topk: Number of trackers shown, best of tag ``all`` first.
        """
        best = sorted(result, key=lambda name: result[name]["all"], reverse=True)[:topk]
        print(tag_table({name: result[name] for name in best}))
