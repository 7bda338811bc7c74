r"""Write the weights of a tracker alone, as a safetensors file that describes itself, or for PySOT.

IN is a checkpoint of this program or PySOT's, or a safetensors file. OUT has neither optimizer nor
training state. A safetensors file holds a card beside the weights: configuration, hashes, scores,
source; test, demo and the like need no --config with it. --card adds what else users must know, by
a YAML file of texts: use (shown first), data, backbone, command, seed, or what you like. --fp16
halves the file: convolutions in half precision, vectors in full. ``KEY VALUE`` pairs override the
configuration.

Examples:
    pysot convert checkpoint_e20.pth tracker.safetensors --config CONFIG.yaml
    pysot convert checkpoint_e20.pth tracker.safetensors --config CONFIG.yaml --fp16 \
        --name tracker --card card.yaml --scores scores.json --license Apache-2.0
    pysot convert siamrpn_r50_l234_dwxcorr tracker.safetensors    # a name that pysot models lists
    pysot convert tracker.safetensors tracker.pth                 # for PySOT
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pysot.cli import Parser
from pysot.core.card import read_card
from pysot.core.config import Config, load_config
from pysot.core.plugins import digests
from pysot.core.values import read_yaml
from pysot.models.model_builder import build_model
from pysot.utils.model_load import WEIGHT_FILES, load_weights, write_weights
from pysot.zoo import find_model, models, weights_of
from toolkit.io.files import sha256_of

logger = logging.getLogger(__name__)

# what a tracker does not depend on, or its user decides
_LEFT_OUT = ("TRAIN", "DATASET", "PLUGINS", "STRICT_KEYS", "CUDA", "DEVICE")
_SCORES = ("published", "measured")
# of a card that this command writes; the others are notes, which are handed on
_OWN_ENTRIES = (
    *("format", "name", "system", "license", "precision", "source", *_SCORES, "config"),
    *("plugins", "parameters", "sha256"),
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("source", metavar="IN", help="weights: a file, or a name that pysot models lists")
    add("output", metavar="OUT", type=Path, help="file to write, *.safetensors or *.pth")
    parser.add_config(required=False)
    add("--fp16", action="store_true", help="half precision, but for vectors")
    add("--name", default="", help="of the tracker, for the card (default: from OUT)")
    add("--card", type=Path, metavar="FILE", help="YAML file of texts to add to the card")
    text = "its scores, by pysot eval --json; may be repeated"
    add("--scores", type=Path, metavar="FILE", action="append", default=[], help=text)
    add("--license", default="", help="license for the card")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Read, check and write the weights."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    if args.output.suffix not in WEIGHT_FILES:
        raise ValueError(f"{args.output}: expected a name in {' or '.join(WEIGHT_FILES)}")
    if args.output.suffix == ".pth" and (args.name or args.card or args.scores or args.license):
        raise ValueError(f"{args.output} has no card for --name, --card, --scores or --license")
    path, config, known = _origin(args.source)
    if args.output.exists() and args.output.samefile(path):
        raise ValueError(f"{args.output} is the input; choose another name for the output")
    if not (args.config or config):
        raise ValueError(f"{path} has no card with its configuration: give --config")
    cfg = load_config(args.config or config, args.opts)
    model = load_weights(build_model(cfg), path, rename=cfg.TRAIN.PRETRAINED_RENAME)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    if args.fp16:
        weights = {key: _halved(value) for key, value in weights.items()}
    card = _make_card(args, cfg, path, known)
    card["parameters"] = sum(value.numel() for value in model.parameters())
    write_weights(args.output, weights, card)
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {len(weights)} tensors, {size:.1f} MB, {card['precision']}")


def _origin(name: str) -> tuple[Path, Path | None, dict[str, Any]]:
    """Return weights, their configuration if it is known, and the card that they have already."""
    path = Path(name)
    if path.suffix == ".safetensors" and path.is_file():
        card = read_card(path)
        return path, path if card.get("config") else None, card
    if path.is_file():
        return path, None, {}
    if name not in models() and Path(name).suffix:
        raise FileNotFoundError(f"weights not found: {name}")
    model = find_model(name)
    path, config = weights_of(model), model.config_path
    if path.suffix == ".safetensors":
        return path, config, {**read_card(path), "name": name}
    card = {key: getattr(model, key) for key in ("name", "license", *_SCORES)}
    source = {"file": model.urls[0], "sha256": sha256_of(path)}
    return path, config, {**card, "source": source, "config": _settings(load_config(config))}


def _make_card(
    args: argparse.Namespace, cfg: Config, path: Path, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Say what the weights are; what their own card says of the same configuration stays."""
    config = _settings(cfg)
    name = args.name or known.get("name") or args.output.name.split(".")[0]
    scores = {key: dict(known.get(key) or {}) for key in _SCORES}
    if any(scores.values()) and known.get("config") != config:
        logger.warning("the scores of %s are left out: its configuration is another", args.source)
        scores = {key: {} for key in _SCORES}
    for file in args.scores:
        scores["measured"].update(_read_scores(file, name))
    notes = {key: value for key, value in known.items() if key not in _OWN_ENTRIES}
    if args.card:
        notes |= _read_notes(args.card)
    return {
        **notes,
        "format": 1,
        "name": name,
        "system": cfg.TRACK.TYPE,
        "license": args.license or known.get("license", ""),
        "precision": "fp16" if args.fp16 else "fp32",
        "source": known.get("source") or {"file": path.name, "sha256": sha256_of(path)},
        **scores,
        "config": config,
        "plugins": digests(),
    }


def _read_notes(path: Path) -> dict[str, Any]:
    """Read what ``--card`` names: texts, numbers or lists of them, by name.

    ``OSError`` or ``ValueError`` if it cannot be read or is something else.
    """
    notes = read_yaml(path)
    if taken := sorted(set(notes) & set(_OWN_ENTRIES)):
        raise ValueError(f"{path}: {', '.join(taken)} of a card is written by this command itself")
    for key, value in notes.items():
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str | int | float) for text in texts):
            raise ValueError(f"{path}: {key}: expected a text, a number or a list of them")
    return notes


def _settings(cfg: Config) -> dict[str, Any]:
    values = {key: value for key, value in cfg.items() if key not in _LEFT_OUT}
    return json.loads(json.dumps(values))


def _halved(value: Tensor) -> Tensor:
    """Convert weights of convolutions, unless they are too large or too small for it.

    Biases and statistics are few, and small errors of them touch every pixel.
    """
    if not value.is_floating_point() or value.dim() < 2:
        return value
    half = value.half()
    exact = (half - value).abs().max() <= value.abs().max() / 2048  # one unit in the last place
    return half if exact else value


def _read_scores(path: Path, name: str) -> dict[str, dict[str, float]]:
    """Return the metrics of a tracker, by data set; of the only one if none has that name."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        trackers = {key: dict(entry["metrics"]) for key, entry in data["trackers"].items()}
        dataset = str(data["dataset"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has no scores as pysot eval --json writes them") from error
    if name not in trackers and len(trackers) != 1:
        there = ", ".join(trackers) or "none"
        raise ValueError(f"{path} has no scores of {name!r}; there is: {there}")
    return {dataset: trackers.get(name) or next(iter(trackers.values()))}
