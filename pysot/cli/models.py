"""List published weights, and download them.

Usage:
    pysot models
    pysot models siamrpn_r50_l234_dwxcorr
    pysot models siamrpn_r50_l234_dwxcorr --download
    pysot models tracker.safetensors    the card of a file, see pysot convert

A name works as --model NAME of test, eval, demo, tune and export, and in
Tracker.from_pretrained(NAME). Files are kept in the folder that PYSOT_HOME names, by default the
user's cache folder. The size is known once a file is there.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence

from pysot.cli import Parser
from pysot.core.card import read_card
from pysot.zoo import Model, find_model, models, weights_of

_SHOWN = ("name", "system", "precision", "license", "sha256", "format")  # of a card, on top


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("name", nargs="?", help="show one model, or the card of a file")
    parser.add_argument("--download", action="store_true", help="get its file, print the path")
    args = parser.parse_args(argv)
    if args.download and not args.name:
        parser.error("--download needs the name of a model")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or one model."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    if args.download:
        print(weights_of(find_model(args.name)))
    elif args.name and args.name.endswith(".safetensors"):
        print("\n".join(_card_lines(args.name)))
    elif args.name:
        print("\n".join(_described(find_model(args.name))))
    else:
        _print_table()


def _print_table() -> None:
    rows = [("name", "system", "parameters", "size", "license", "published", "measured here")]
    for model in models().values():
        scores = (_main_scores(table) for table in (model.published, model.measured))
        sizes = (f"{model.parameters / 1e6:.1f} M", _size(model))
        rows.append((model.name, model.system, *sizes, model.license, *scores))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def _main_scores(table: Mapping[str, Mapping[str, float]]) -> str:
    """Return the first metric of every benchmark."""
    firsts = {name: next(iter(values.items())) for name, values in table.items()}
    texts = (f"{n} {m} {v:.3f}" for n, (m, v) in firsts.items() if isinstance(v, float))
    return ", ".join(texts) or "-"


def _described(model: Model) -> Iterator[str]:
    parameters = f"{model.parameters / 1e6:.1f} M parameters"
    yield f"{model.name}: {model.system}, {parameters}, {_size(model)}, {model.license}"
    yield f"configuration: {model.config_path}"
    yield f"weights: {model.path}{'' if model.path.is_file() else ' (not downloaded)'}"
    yield from (f"page: {page}" for page in model.pages)
    yield from model.scores()


def _card_lines(path: str) -> Iterator[str]:
    card = read_card(path)
    if not card:
        raise ValueError(f"{path} has no card")
    system, precision, license = (card.get(key) or "?" for key in _SHOWN[1:4])
    yield f"{card.get('name')}: {system}, {precision}, {license}"
    yield f"weights: {path}, SHA-256 {card.get('sha256')}"
    yield from (f"{key}: {value}" for key, value in card.items() if key not in _SHOWN)


def _size(model: Model) -> str:
    size = model.size or (model.path.stat().st_size if model.path.is_file() else 0)
    return f"{size / 1e6:.1f} MB" if size else "?"
