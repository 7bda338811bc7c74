"""Benchmarks: from result files to scores and tables."""

from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.ar_benchmark import AccuracyRobustnessBenchmark
from toolkit.evaluation.davis_benchmark import DAVISBenchmark
from toolkit.evaluation.eao_benchmark import EAOBenchmark
from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.f1_benchmark import F1Benchmark
from toolkit.evaluation.gathering import INCOMPLETE
from toolkit.evaluation.got10k_benchmark import GOT10kBenchmark
from toolkit.evaluation.ope_benchmark import OPEBenchmark
from toolkit.evaluation.reset_evaluation import ResetEvaluation
from toolkit.evaluation.scores import CURVES, METRICS, Scores

#: How a benchmark is scored, by the name in its row of `toolkit.datasets.benchmarks`.
EVALUATIONS: dict[str, type[Evaluation]] = {
    "ope": OPEBenchmark,
    "vot": ResetEvaluation,
    "longterm": F1Benchmark,
    "got10k": GOT10kBenchmark,
    "davis": DAVISBenchmark,
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
    "DAVISBenchmark",
    "EAOBenchmark",
    "Evaluation",
    "F1Benchmark",
    "GOT10kBenchmark",
    "OPEBenchmark",
    "ResetEvaluation",
    "Scores",
    "build_evaluation",
]
