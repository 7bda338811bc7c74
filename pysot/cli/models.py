"""List published weights, and download them.

A name works as --model NAME of test, eval, demo, tune and export, and in
Tracker.from_pretrained(NAME). Some files come with the package; the others are kept in the folder
that PYSOT_HOME names, by default the user's cache folder, and their size is known once they are
there. --row prints what the table of models says of a file that comes with the package.

Examples:
    pysot models
    pysot models siamrpn_r50_l234_dwxcorr
    pysot models siamrpn_r50_l234_dwxcorr --download
    pysot models tracker.safetensors    # the card of a file, see pysot convert
    pysot models tracker.safetensors --row
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pysot.cli import Parser
from pysot.core.card import read_card
from pysot.zoo import Model, find_model, models, weights_of
from toolkit.io.files import sha256_of

_SHOWN = ("use", "name", "system", "precision", "license", "sha256", "format")  # of a card, on top
# of a card; the row of a model says the same, or its configuration does
_IN_THE_ROW = (*_SHOWN, "published", "measured", "parameters", "config", "plugins")
_WEIGHTS = "package://pysot.zoo/weights"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("name", nargs="?", help="show one model, or the card of a file")
    parser.add_argument("--download", action="store_true", help="get its file, print the path")
    parser.add_argument("--row", action="store_true", help="print a file's row of models.json")
    args = parser.parse_args(argv)
    if args.row and not (args.name or "").endswith(".safetensors"):
        parser.error("--row needs a file *.safetensors")
    if args.download and not args.name:
        parser.error("--download needs the name of a model")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or one model."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    if args.download:
        print(weights_of(find_model(args.name)))
    elif args.row:
        print(json.dumps(_row_of(Path(args.name)), indent=2))
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
    path = model.path
    card = read_card(path) if path.suffix == ".safetensors" and path.is_file() else {}
    yield from _use_of(card)
    parameters = f"{model.parameters / 1e6:.1f} M parameters"
    yield f"{model.name}: {model.system}, {parameters}, {_size(model)}, {model.license}"
    yield f"configuration: {model.config_path}"
    yield f"weights: {model.path}{'' if model.path.is_file() else ' (not downloaded)'}"
    yield from (f"page: {page}" for page in model.pages)
    yield from model.scores()
    yield from _notes(card, _IN_THE_ROW)


def _use_of(card: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the weights may be used for: the first line on them."""
    if "use" in card:
        yield str(card["use"])


def _notes(card: Mapping[str, Any], left_out: Sequence[str]) -> Iterator[str]:
    """Yield the other entries of a card, one line for each text of a list."""
    for key, value in card.items():
        if key not in left_out:
            texts = value if isinstance(value, list) else [value]
            yield from (f"{key}: {text}" for text in texts)


def _row_of(path: Path) -> dict[str, Any]:
    """Return the row of ``models.json`` for a file of `pysot convert`.

    Raises:
        ValueError: If it has no card, or an incomplete one.
    """
    card = read_card(path)
    try:
        return {
            "name": card["name"],
            "system": card["system"].removesuffix("Tracker"),
            "parameters": card["parameters"],
            "size": path.stat().st_size,
            "urls": [f"{_WEIGHTS}/{path.name}"],
            "license": card["license"],
            "sha256": sha256_of(path),
            "measured": card["measured"],
        }
    except KeyError as error:
        raise ValueError(f"{path}: its card has no {error}; pysot convert writes one") from error


def _card_lines(path: str) -> Iterator[str]:
    card = read_card(path)
    if not card:
        raise ValueError(f"{path} has no card")
    system, precision, license = (card.get(key) or "?" for key in _SHOWN[2:5])
    yield from _use_of(card)
    yield f"{card.get('name')}: {system}, {precision}, {license}"
    yield f"weights: {path}, SHA-256 {card.get('sha256')}"
    yield from _notes(card, _SHOWN)


def _size(model: Model) -> str:
    size = model.size or (model.path.stat().st_size if model.path.is_file() else 0)
    return f"{size / 1e6:.1f} MB" if size else "?"
