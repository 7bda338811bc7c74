"""Benchmarks: from result files to scores and tables."""

from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.evaluation import INCOMPLETE, Evaluation
from toolkit.evaluation.legacy import (
    AccuracyRobustnessBenchmark,
    EAOBenchmark,
    F1Benchmark,
    OPEBenchmark,
)
from toolkit.evaluation.masks import MaskEvaluation
from toolkit.evaluation.metrics import METRICS
from toolkit.evaluation.one_pass import GOT10kEvaluation, LongTermEvaluation, OnePassEvaluation
from toolkit.evaluation.reset import ResetEvaluation
from toolkit.io.tables import Table

#: How a benchmark is scored, by the name in its row of `toolkit.datasets.benchmarks`.
EVALUATIONS: Table[type[Evaluation]] = Table(
    "evaluation",
    {
        "ope": OnePassEvaluation,
        "vot": ResetEvaluation,
        "longterm": LongTermEvaluation,
        "got10k": GOT10kEvaluation,
        "davis": MaskEvaluation,
    },
)


def build_evaluation(
    dataset: Dataset, incomplete: str = "lost", strict_gt: bool = False
) -> Evaluation:
    """Make the evaluation that a data set's benchmark asks for; see `Evaluation`."""
    return EVALUATIONS[dataset.benchmark.evaluation](dataset, incomplete, strict_gt)


__all__ = [
    "EVALUATIONS",
    "INCOMPLETE",
    "METRICS",
    "AccuracyRobustnessBenchmark",
    "EAOBenchmark",
    "Evaluation",
    "F1Benchmark",
    "OPEBenchmark",
    "build_evaluation",
]
