"""List published weights, and download them.

Usage:
    pysot models
    pysot models siamrpn_r50_l234_dwxcorr
    pysot models siamrpn_r50_l234_dwxcorr --download

A name works as --model NAME of test and demo, and in Tracker.from_pretrained(NAME). Files are kept
in the folder that PYSOT_HOME names, by default the user's cache folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from pysot.cli import Parser
from pysot.zoo import Model, find_model, models, weights_of

_ROW = "{:32} {:10} {:>8} {:14} {}"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("name", nargs="?", help="show one model alone, with all its scores")
    parser.add_argument("--download", action="store_true", help="get its file, print the path")
    args = parser.parse_args(argv)
    if args.download and not args.name:
        parser.error("--download needs the name of a model")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or one model."""
    args = parse_args(argv)
    if args.download:
        print(weights_of(find_model(args.name)))
    elif args.name:
        print("\n".join(_described(find_model(args.name))))
    else:
        print(_ROW.format("name", "system", "size", "license", "here"))
        for model in models().values():
            print(_ROW.format(model.name, model.system, _size(model), model.license, _here(model)))


def _described(model: Model) -> Iterator[str]:
    yield f"{model.name}: {model.system}, {_size(model)}, {model.license}"
    if model.about:
        yield model.about
    yield f"configuration: {model.config_path}"
    yield f"weights: {model.path}{'' if model.path.is_file() else ' (not downloaded)'}"
    for title, scores in (("published", model.published), ("measured here", model.measured)):
        for benchmark, values in scores.items():
            yield f"{title}, {benchmark}: {_scores(values)}"


def _scores(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


def _size(model: Model) -> str:
    size = model.size or (model.path.stat().st_size if model.path.is_file() else 0)
    return f"{size / 1e6:.1f} MB" if size else "?"


def _here(model: Model) -> str:
    return "yes" if model.path.is_file() else "no"
