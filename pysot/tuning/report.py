"""What remains of a study: the best setting as a configuration, and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pysot.tuning.study import optuna
from toolkit.io.files import atomic_path, atomic_write
from toolkit.io.packages import load_package


def write_best(path: Path, config: Mapping[str, Any], comment: str) -> None:
    """Write a configuration as YAML, below a comment of one line."""
    with atomic_write(path) as file:
        file.write(f"# {comment}\n")
        yaml.safe_dump(dict(config), file, sort_keys=False)


def draw_plots(study: Any, stem: Path, score: str) -> list[Path]:
    """Draw the history of a study, what each key contributes, and slices; return the PNG files.

    Keys contribute by PED-ANOVA (Watanabe et al., 2023), which needs two trials that differ.

    Raises:
        ValueError: If matplotlib is missing.
    """
    matplotlib = load_package("matplotlib", "matplotlib", "plots need")
    library, paths = optuna(), []
    plots = load_package("optuna.visualization.matplotlib", "optuna", "plots need")
    evaluator = library.importance.PedAnovaImportanceEvaluator()
    drawn = {
        "history": lambda: plots.plot_optimization_history(study, target_name=score),
        "importances": lambda: plots.plot_param_importances(study, evaluator=evaluator),
        "slices": lambda: plots.plot_slice(study, target_name=score),
    }
    matplotlib.use("Agg")
    pyplot = load_package("matplotlib.pyplot", "matplotlib", "plots need")
    for name, draw in drawn.items():
        path = stem.with_name(f"{stem.name}_{name}.png")
        with matplotlib.rc_context():
            try:
                draw()
            except (ValueError, RuntimeError):  # too few trials
                continue
            with atomic_path(path) as temporary:
                pyplot.gcf().savefig(temporary, dpi=150, bbox_inches="tight")
            pyplot.close("all")
        paths.append(path)
    return paths
