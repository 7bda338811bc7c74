"""Benchmarks: from result files to scores and tables."""

from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.gathering import INCOMPLETE
from toolkit.evaluation.legacy import (
    AccuracyRobustnessBenchmark,
    EAOBenchmark,
    F1Benchmark,
    OPEBenchmark,
)
from toolkit.evaluation.masks import MaskEvaluation
from toolkit.evaluation.metrics import CURVES, METRICS, Scores
from toolkit.evaluation.one_pass import GOT10kEvaluation, LongTermEvaluation, OnePassEvaluation
from toolkit.evaluation.reset import ResetEvaluation

#: How a benchmark is scored, by the name in its row of `toolkit.datasets.benchmarks`.
EVALUATIONS: dict[str, type[Evaluation]] = {
    "ope": OnePassEvaluation,
    "vot": ResetEvaluation,
    "longterm": LongTermEvaluation,
    "got10k": GOT10kEvaluation,
    "davis": MaskEvaluation,
}


def build_evaluation(
    dataset: Dataset, incomplete: str = "lost", strict_gt: bool = False
) -> Evaluation:
    """Make the evaluation that a data set's benchmark asks for.

    Args:
        dataset: The videos; its trackers are set.
        incomplete: What to do about missing and faulty results, a key of ``INCOMPLETE``.
        strict_gt: Count frames without ground truth as precision misses (one-pass sets).
    """
    return EVALUATIONS[dataset.benchmark.evaluation](dataset, incomplete, strict_gt)


__all__ = [
    "CURVES",
    "EVALUATIONS",
    "INCOMPLETE",
    "METRICS",
    "AccuracyRobustnessBenchmark",
    "EAOBenchmark",
    "Evaluation",
    "F1Benchmark",
    "GOT10kEvaluation",
    "LongTermEvaluation",
    "MaskEvaluation",
    "OPEBenchmark",
    "OnePassEvaluation",
    "ResetEvaluation",
    "Scores",
    "build_evaluation",
]
