"""Configuration: every key with its default, and the loading of YAML files.

The keys and defaults are PySOT's (STVIR/pysot, ``pysot/core/config.py``), so that its YAML files
load unchanged; keys of our own carry the remark "(ours)". ``load_config`` is the way in. The
module-level ``cfg`` exists for scripts written against PySOT, which merge a file into it.
"""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode as _YacsNode

logger = logging.getLogger(__name__)

ANY = sys.float_info.max  # the largest value, where every finite one will do
REPOSITORY = Path(__file__).resolve().parents[2]

# Keys that a YAML file published with PySOT carries although nothing reads them.
STALE_KEYS = ("BACKBONE.CHANNELS", "ADJUST.ADJUST_CHANNEL", "RPN.WEIGHTED")

# Nodes whose keys are keyword arguments of the class that TYPE names; they are checked against
# its signature when the class is built.
_OPEN_NODES = (
    "TRAIN.LR.KWARGS",
    "TRAIN.LR_WARMUP.KWARGS",
    "BACKBONE.KWARGS",
    "ADJUST.KWARGS",
    "RPN.KWARGS",
    "MASK.KWARGS",
)


class Config(_YacsNode):
    """A yacs node whose merges report every wrong key at once and convert 1 <-> 1.0."""

    def merge_from_file(self, cfg_filename: str | Path) -> None:
        """Merge a YAML file into this node.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no YAML mapping, or holds unknown keys or values of a wrong type.
        """
        path = Path(cfg_filename)
        if not path.is_file():
            raise FileNotFoundError(f"configuration file not found: {path}")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a YAML file: {error}") from error
        if values is not None and not isinstance(values, dict):
            raise ValueError(
                f"{path}: expected a mapping of sections, found {type(values).__name__}"
            )
        self._merge(values or {}, source=str(path))

    def merge_from_list(self, cfg_list: Sequence[Any]) -> None:
        """Merge ``[KEY, VALUE, KEY, VALUE, ...]``, values written as in YAML.

        Raises:
            ValueError: If a value is missing, a key unknown, or a value of a wrong type.
        """
        if len(cfg_list) % 2:
            raise ValueError(f"overrides come as KEY VALUE pairs; {cfg_list[-1]!r} has no value")
        values: dict[str, Any] = {}
        for key, text in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            node = values
            *sections, name = str(key).split(".")
            for section in sections:
                node = node.setdefault(section, {})
            node[name] = _parse_value(text)
        self._merge(values, source="command line")

    def merge_from_other_cfg(self, cfg_other: _YacsNode) -> None:
        """Merge another node into this one, with the same checks as for a file."""
        self._merge(cfg_other, source="configuration")

    def _merge(self, values: dict, source: str) -> None:
        if self.is_frozen():
            raise ValueError("this configuration is frozen; change it before building from it")
        problems: list[str] = []
        accepted = list(_accepted_values(self, values, "", problems))
        if problems:
            raise ValueError(f"{source}: " + "; ".join(problems))
        for node, key, value in accepted:
            dict.__setitem__(node, key, value)


def _parse_value(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _accepted_values(
    node: Config, values: dict, prefix: str, problems: list[str]
) -> Iterator[tuple[Config, str, Any]]:
    """Yield (node, key, value) for every leaf that may be set; describe the others."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in STALE_KEYS:
            logger.warning("%s has no effect and is ignored", name)
        elif prefix[:-1] in _OPEN_NODES:
            yield node, key, value
        elif prefix == "DATASET." and key not in node and isinstance(value, dict):
            yield from _new_dataset(node, key, value, problems)
        elif key not in node:
            problems.append(_unknown_key(node, key, name))
        elif isinstance(node[key], _YacsNode):
            if isinstance(value, dict):
                yield from _accepted_values(node[key], value, name + ".", problems)
            else:
                problems.append(f"{name} is a section, found {value!r}")
        else:
            try:
                yield node, key, _converted(value, node[key], name)
            except ValueError as error:
                problems.append(str(error))


def _new_dataset(
    node: Config, key: str, value: dict, problems: list[str]
) -> Iterator[tuple[Config, str, Any]]:
    """Accept a training set of the user's own below ``DATASET``."""
    fresh = Config(_training_set("", "", 100, -1))
    yield from _accepted_values(fresh, value, f"DATASET.{key}.", problems)
    missing = [name for name in ("ROOT", "ANNO") if not value.get(name)]
    if missing:
        problems.append(f"DATASET.{key} needs {' and '.join(missing)}")
    yield node, key, fresh


def _unknown_key(node: Config, key: str, name: str) -> str:
    near = difflib.get_close_matches(str(key), [str(known) for known in node], n=1, cutoff=0.5)
    prefix = name[: len(name) - len(str(key))]
    return f"unknown key {name}" + (f" (did you mean {prefix}{near[0]}?)" if near else "")


def _converted(value: Any, default: Any, name: str) -> Any:
    """Return ``value`` in the type of the default, converting only where nothing is lost."""
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        return type(default)(value)
    if isinstance(default, bool) or isinstance(value, bool):
        if isinstance(default, bool) and isinstance(value, bool):
            return value
    elif isinstance(default, float) and isinstance(value, (int, float)):
        return float(value)
    elif isinstance(default, float) and isinstance(value, str) and _is_number(value):
        return float(value)  # YAML 1.1 reads 1e-3, without a point, as text
    elif isinstance(default, int) and isinstance(value, float):
        # SHIFT: 64.5 and MASK_WEIGHT: 36.5 are meaningful, so a fraction stays a fraction
        return int(value) if value.is_integer() else value
    elif isinstance(value, type(default)):
        return value
    elif isinstance(default, str) and value is None:
        return ""
    expected = type(default).__name__
    raise ValueError(f"{name}: expected {expected}, found {value!r} ({type(value).__name__})")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _training_set(root: str, anno: str, frame_range: int, num_use: int) -> dict[str, Any]:
    return {"ROOT": root, "ANNO": anno, "FRAME_RANGE": frame_range, "NUM_USE": num_use}


def _augmentation(shift: int, scale: float) -> dict[str, Any]:
    return {"SHIFT": shift, "SCALE": scale, "BLUR": 0.0, "FLIP": 0.0, "COLOR": 1.0}


def _train_defaults() -> dict[str, Any]:
    return {
        # anchors: IoU above THR_HIGH is positive, below THR_LOW negative; samples per pair
        "THR_HIGH": 0.6,
        "THR_LOW": 0.3,
        "NEG_NUM": 16,
        "POS_NUM": 16,
        "TOTAL_NUM": 64,
        # pixels of the template and search images; OUTPUT_SIZE is the response's side
        "EXEMPLAR_SIZE": 127,
        "SEARCH_SIZE": 255,
        "BASE_SIZE": 8,
        "OUTPUT_SIZE": 25,
        "RESUME": "",
        "PRETRAINED": "",
        "LOG_DIR": "./logs",
        "SNAPSHOT_DIR": "./snapshot",
        "EPOCH": 20,
        "START_EPOCH": 0,
        "BATCH_SIZE": 32,
        "NUM_WORKERS": 1,
        "MOMENTUM": 0.9,
        "WEIGHT_DECAY": 0.0001,
        "CLS_WEIGHT": 1.0,
        "LOC_WEIGHT": 1.2,
        "MASK_WEIGHT": 1,
        "PRINT_FREQ": 20,
        "LOG_GRADS": False,
        "GRAD_CLIP": 10.0,
        "BASE_LR": 0.005,
        "LR": {"TYPE": "log", "KWARGS": {}},
        "LR_WARMUP": {"WARMUP": True, "TYPE": "step", "EPOCH": 5, "KWARGS": {}},
        # (ours) unreadable training images that are replaced by another sample, over a whole
        # run; one more stops it
        "MAX_BAD_IMAGES": 100,
        # (ours) One step trains on the batches of all processes, ACCUMULATE of BATCH_SIZE pairs
        # each; these are its parts. "sum": their gradients are added up before GRAD_CLIP, as PySOT
        # does over its processes. k parts make k times fewer steps per epoch, each k times as
        # long: an epoch moves the weights as far, and a published file means the same learning
        # rate, whatever the number of parts. "mean": one step of k * BATCH_SIZE pairs, no longer
        # than one of BATCH_SIZE: 1 process of 8 pairs, 2 of 4 and 1 of 2 x 4 do the same.
        "GRAD_REDUCE": "sum",
        "ACCUMULATE": 1,
        # (ours) batch norm over the batches of all processes
        "SYNC_BN": False,
        # (ours) numbers of the forward pass: fp32, bf16, or fp16 (CUDA alone, with scaled
        # gradients); and whether torch.compile compiles the network
        "PRECISION": "fp32",
        "COMPILE": False,
        # (ours) decay per step of a running average of the weights, such as 0.999, saved as
        # ema_e<k>.pth; 0: none
        "EMA": 0.0,
        # (ours) minutes between two checkpoints within an epoch (0: none), and how many of those
        # after whole epochs to keep (0: all)
        "SAVE_MINUTES": 10.0,
        "KEEP": 0,
        # (ours) steps between two pictures of pairs in TensorBoard; 0: none
        "LOG_IMAGES": 500,
        # (ours) parts that do not learn: neck, rpn_head, mask_head, refine_head
        "FROZEN": [],
    }


def _dataset_defaults() -> dict[str, Any]:
    folder = "training_dataset"
    return {
        "TEMPLATE": _augmentation(shift=4, scale=0.05),
        "SEARCH": _augmentation(shift=64, scale=0.18),
        "NEG": 0.2,
        # (ours) share of the negative pairs whose two objects are of one category, but in different
        # videos; the others' are of two. Below 0 the second object is any of any set's (PySOT).
        "NEG_SAME_CATEGORY": -1.0,
        "GRAY": 0.0,
        "NAMES": ["VID", "COCO", "DET", "YOUTUBEBB"],
        "VID": _training_set(f"{folder}/vid/crop511", f"{folder}/vid/train.json", 100, 100000),
        "YOUTUBEBB": _training_set(f"{folder}/yt_bb/crop511", f"{folder}/yt_bb/train.json", 3, -1),
        "COCO": _training_set(f"{folder}/coco/crop511", f"{folder}/coco/train2017.json", 1, -1),
        "DET": _training_set(f"{folder}/det/crop511", f"{folder}/det/train.json", 1, -1),
        "VIDEOS_PER_EPOCH": 600000,
    }


def _track_defaults() -> dict[str, Any]:
    return {
        "TYPE": "SiamRPNTracker",
        "PENALTY_K": 0.04,
        "WINDOW_INFLUENCE": 0.44,
        "LR": 0.4,
        "EXEMPLAR_SIZE": 127,
        "INSTANCE_SIZE": 255,
        "BASE_SIZE": 8,
        "CONTEXT_AMOUNT": 0.5,
        "LOST_INSTANCE_SIZE": 831,
        "CONFIDENCE_LOW": 0.85,
        "CONFIDENCE_HIGH": 0.998,
        "MASK_THERSHOLD": 0.3,
        "MASK_OUTPUT_SIZE": 127,
        # (ours) SiamFCTracker: search regions per frame, the factor from one to the next, and on
        # the responses of all but the middle one; LR is the share of a new scale
        "SCALE_NUM": 3,
        "SCALE_STEP": 1.0375,
        "SCALE_PENALTY": 0.9745,
        # (ours) DaSiamRPNTracker: weight of distractors in [0, 1), the score that makes one (and
        # lets the target be learnt from), how many per frame, the overlap that makes two one
        "DISTRACTOR_INFLUENCE": 0.5,
        "DISTRACTOR_THRESHOLD": 0.7,
        "DISTRACTOR_NUM": 3,
        "NMS_IOU": 0.1,
        # (ours) rate of the running averages of target and distractors; 0 keeps the first template
        "TEMPLATE_LR": 0.0,
        # (ours) pixels by which the search region grows per lost frame, a multiple of 16, up to
        # LOST_INSTANCE_SIZE; 0: the target is never taken for lost
        "LOST_STEP": 0,
        # (ours) INSTANCE_SIZE of targets under 0.4 % of their first frame; 0: as for the others
        "SMALL_INSTANCE_SIZE": 0,
        # (ours) numbers of the network: fp32, bf16 or fp16; and whether torch.compile compiles it
        "PRECISION": "fp32",
        "COMPILE": False,
        # (ours) wide 3x3 convolutions by Winograd's algorithm, on a CPU in fp32: faster, but they
        # take four times the memory of their weights (siamrpn_r50_l234_dwxcorr: 216 -> 674 MB)
        "WINOGRAD": True,
        # (ours) start the network's kernels on a CUDA device as one graph; not with COMPILE
        "CUDA_GRAPHS": True,
    }


def default_config() -> Config:
    """Return a fresh configuration that holds every default."""
    return Config(
        {
            "META_ARC": "siamrpn_r50_l234_dwxcorr",
            "CUDA": True,
            # (ours) "auto": CUDA where CUDA is true and a device is there, then Apple's MPS,
            # then the CPU; or a name that torch.device takes
            "DEVICE": "auto",
            "TRAIN": _train_defaults(),
            "DATASET": _dataset_defaults(),
            "BACKBONE": {
                "TYPE": "res50",
                "KWARGS": {},
                "PRETRAINED": "",
                "TRAIN_LAYERS": ["layer2", "layer3", "layer4"],
                "LAYERS_LR": 0.1,
                "TRAIN_EPOCH": 10,
            },
            "ADJUST": {"ADJUST": True, "KWARGS": {}, "TYPE": "AdjustAllLayer"},
            "RPN": {"TYPE": "MultiRPN", "KWARGS": {}},
            "MASK": {"MASK": False, "TYPE": "MaskCorr", "KWARGS": {}},
            "REFINE": {"REFINE": False, "TYPE": "Refine"},
            "ANCHOR": {
                "STRIDE": 8,
                "RATIOS": [0.33, 0.5, 1, 2, 3],
                "SCALES": [8],
                "ANCHOR_NUM": 5,
            },
            "TRACK": _track_defaults(),
        }
    )


def load_config(path: str | Path, opts: Sequence[Any] = ()) -> Config:
    """Read a configuration over the defaults.

    Args:
        path: YAML file, in PySOT's format.
        opts: Overrides as ``[KEY, VALUE, ...]``, keys dotted (``TRAIN.EPOCH``), values as in YAML.

    Returns:
        A frozen configuration.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is unknown (all are listed, with the nearest known name), a value
            has the wrong type, or an override has no value.
    """
    config = default_config()
    config.merge_from_file(path)
    config.merge_from_list(list(opts))
    config.freeze()
    return config


def check_limits(node: Config, name: str, limits: Mapping[str, tuple[float, float]]) -> None:
    """Check that numbers lie between limits.

    Args:
        node: A section of the configuration.
        name: Of that section, for messages.
        limits: By key, the least and the largest value; whole numbers where the least one is an
            ``int``.

    Raises:
        ValueError: For the first that does not.
    """
    for key, (least, most) in limits.items():
        whole = isinstance(least, int)
        right = isinstance(node[key], int) if whole else isinstance(node[key], (int, float))
        if not (right and least <= node[key] <= most):
            kind = "a whole number" if whole else "a number"
            bounds = f"of {least:g} or more" if most == ANY else f"from {least:g} to {most:g}"
            raise ValueError(f"{name}.{key} is {node[key]}; expected {kind} {bounds}")


def resolve_path(path: str | Path) -> Path:
    """Find a path that a YAML file gives relative to the repository root.

    Applies to ``BACKBONE.PRETRAINED``, ``DATASET.*.ROOT`` and ``DATASET.*.ANNO``. A path that is
    not below the repository but below the current directory is taken from there, so that an
    installed package works too.
    """
    path = Path(path)
    below_root = REPOSITORY / path  # an absolute path stays as it is
    return path.absolute() if not below_root.exists() and path.exists() else below_root


cfg = default_config()
"""The configuration of scripts written against PySOT; nothing inside the package reads it."""
