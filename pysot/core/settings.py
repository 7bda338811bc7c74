"""Every configuration key, declared once: its type, default, range and meaning.

A section of a YAML file is a class, a key one of its fields, in lower case. From these follow the
node ``pysot.core.config.cfg`` and its checks, the trackers' parameters, and
``docs/configuration.md``. Keys and defaults are PySOT's, so that its YAML files load unchanged;
``own`` declares the others. Ranges refuse only what cannot work or fills any memory: a threshold
may lie where no score can, to switch something off or on.
"""

# ruff: noqa: RUF009 - ``key`` and ``own`` make dataclass fields

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, partial
from typing import Any, get_args, get_origin, get_type_hints

from pysot.core.values import LARGEST, decoded, shown

Number = int | float
"""A number that stays whole where it is written so."""


@dataclass(frozen=True)
class Key:
    """What is known of a key beside its default; bounds and choices hold for elements, too.

    Attributes:
        type: ``bool``, ``int``, ``float``, ``Number``, ``str``, a tuple of those (a list in YAML),
            or ``dict`` for the keyword arguments of the class that ``TYPE`` names beside it.
        choices: Known strings; empty: any.
        ours: Whether PySOT lacks it.
        search: Range in which `pysot tune` looks for a value, ``START,STOP``; see
            `pysot.tuning.space.read_range`.
    """

    type: Any
    help: str
    ge: float = -math.inf
    gt: float = -math.inf
    le: float = math.inf
    lt: float = math.inf
    choices: tuple[str, ...] = ()
    ours: bool = False
    search: str = ""

    def convert(self, value: Any, name: str) -> Any:
        """Return a value in the key's type; ``ValueError`` if it is wrong or out of range."""
        literal = decoded(value)
        if self.type is not str:
            value = literal
        elif literal is None or isinstance(value, str):  # 2020 may be the name of a folder
            value = literal or "" if isinstance(literal, (str, type(None))) else str(value)
        if isinstance(value, (list, tuple)) and self.kind == "list":
            element = replace(self, type=get_args(self.type)[0])
            return [element.convert(item, f"{name}[{i}]") for i, item in enumerate(value)]
        if self.type in (int, float, Number):
            return self._number(value, name)
        if self.kind == "list" or not isinstance(value, self.type):
            raise self._wrong_type(value, name)
        if self.choices and value not in self.choices:
            raise ValueError(f"{name}: unknown {shown(value)}; known: {self.range}")
        return value

    def _number(self, number: Any, name: str) -> Number:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise self._wrong_type(number, name)
        if LARGEST < abs(number) < math.inf:
            raise ValueError(f"{name}: the number is too large")
        if self.type is float:
            number = float(number)
        elif float(number).is_integer():
            number = int(number)
        whole = self.type is not int or isinstance(number, int)
        in_range = self.ge <= number <= self.le and self.gt < number < self.lt
        if not (whole and in_range and math.isfinite(number)):
            kind = "whole number" if self.type is int else "number"
            raise ValueError(f"{name} is {number}; expected a {kind} {self.range}".rstrip())
        return number

    def _wrong_type(self, value: Any, name: str) -> ValueError:
        found = type(value).__name__
        return ValueError(f"{name}: expected {self.kind}, found {shown(value)} ({found})")

    @property
    def range(self) -> str:
        """The choices, or the bounds worded to follow "a number"; empty without any."""
        low = f"{self.ge:g}" if self.ge > -math.inf else ""
        if low and self.le < math.inf:
            return f"from {low} to {self.le:g}"
        if low and self.lt < math.inf:
            return f"from {low} to below {self.lt:g}"
        if self.le < math.inf:
            return f"of {self.le:g} or less"
        above = f"above {self.gt:g}" if self.gt > -math.inf else ""
        return f"of {low} or more" if low else above or ", ".join(self.choices)

    @property
    def kind(self) -> str:
        """The type's name."""
        if get_origin(self.type) is tuple:
            return "list"
        return "number" if self.type == Number else self.type.__name__


def key(default: Any, help: str, **rules: Any) -> Any:
    """Declare a key by its default, its meaning, and other attributes of :class:`Key`."""
    metadata = {"help": help, **rules}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


own = partial(key, ours=True)
"""Declare a key that PySOT lacks."""


@cache
def declared(section: Any) -> Mapping[str, Any]:
    """Return what a section holds: a :class:`Key`, or the class of a section, by name in YAML."""
    types = get_type_hints(section)  # of a plug-in they may be texts
    return {
        item.name.upper(): kind
        if is_dataclass(kind)
        else Key(kind, **{"help": "", **item.metadata})
        for item, kind in ((item, types[item.name]) for item in fields(section))
    }


_SHARE = {"ge": 0, "le": 1}
_LOGARITHM = {"ge": 0, "le": 2}
_POSITIVE = {"ge": 1}  # whole numbers
_SIDE = {"ge": 1, "le": 4096}  # pixels of an image for the network
_FEW = {"ge": 1, "le": 1024}
_EXCESS = {"ge": -1024, "le": 1024}  # cells
_MANY = {"le": 10**8}  # videos
_FACTOR = {"ge": 0.001, "le": 1000}
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # names of torch.dtype
_KWARGS = "keyword arguments of what TYPE names"


@dataclass(frozen=True)
class Schedule:
    """Learning rate after the warm-up."""

    type: str = key("log", "log, linear, cos, step or multi-step")
    kwargs: dict = key({}, _KWARGS)


@dataclass(frozen=True)
class WarmUp:
    """Learning rate of the first epochs."""

    warmup: bool = key(True, "whether there is a warm-up")
    type: str = key("step", "as TRAIN.LR.TYPE")
    epoch: int = key(5, "epochs of the warm-up, which TRAIN.EPOCH includes", ge=0, le=10**5)
    kwargs: dict = key({}, _KWARGS)


@dataclass(frozen=True)
class Train:
    """Training."""

    thr_high: float = key(0.6, "overlap with the target above which an anchor is positive")
    thr_low: float = key(0.3, "overlap below which an anchor is negative")
    neg_num: int = key(16, "negatives in a pair of two different targets, at most", ge=0)
    neg_reach: int = own(
        3, "most cells from the other object to where those are drawn; 0: anywhere", ge=0, le=1024
    )
    pos_num: int = key(16, "positives in a pair of one target, at most", ge=0)
    total_num: int = key(64, "POS_NUM and the most negatives in such a pair", ge=0)
    exemplar_size: int = key(127, "side of the template in pixels", **_SIDE)
    search_size: int = key(255, "side of the search image in pixels", **_SIDE)
    base_size: int = key(
        8,
        "excess of OUTPUT_SIZE over the sizes' difference in strides + 1; 0: search maps lose the "
        "border that a neck cuts from the template's, too",
        **_EXCESS,
    )
    output_size: int = key(25, "side of the response in cells", **_FEW)
    resume: str = key("", "checkpoint to go on from, or auto for the newest")
    pretrained: str = key("", "checkpoint of initial weights, of the network or a part of it")
    log_dir: str = key("./logs", "folder of logs; empty: none")
    snapshot_dir: str = key("./snapshot", "folder of checkpoints")
    epoch: int = key(20, "epochs, warm-up included", ge=1, le=10**5)
    start_epoch: int = key(0, "first epoch, counted from 0", ge=0)
    batch_size: int = key(32, "pairs per micro-batch", ge=1, le=2**16)
    num_workers: int = key(
        1, "loader processes for each process that trains; 0: none", ge=0, le=1024
    )
    optimizer: str = own(
        "sgd", "sgd, or adamw, which has no use for MOMENTUM", choices=("sgd", "adamw")
    )
    momentum: float = key(0.9, "momentum of SGD", **_SHARE)
    weight_decay: float = key(0.0001, "weight decay of all parameters", ge=0)
    cls_weight: float = key(1.0, "weight of the classification loss", ge=0)
    loc_weight: float = key(1.2, "weight of the box loss", ge=0)
    mask_weight: Number = key(1, "weight of the mask loss", ge=0)
    loss_weights: dict = own({}, "weights of other losses by name, as {iou_loss: 2.0}; else 1")
    print_freq: int = key(20, "steps between two lines of the log", **_POSITIVE)
    log_grads: bool = key(False, "whether to log the norms of gradients")
    grad_clip: float = key(10.0, "largest norm of all gradients together", gt=0)
    base_lr: float = key(0.005, "learning rate where the schedule has its first value", ge=0)
    lr: Schedule = Schedule()
    lr_warmup: WarmUp = WarmUp()
    lr_per_step: bool = own(
        False, "whether rates change at every step, on lines from one epoch's rate to the next's"
    )
    pretrained_strict: bool = own(False, "whether files of initial weights must hold all of them")
    pretrained_rename: dict = own(
        {}, "beginnings of names in files of weights, and what to read in their place"
    )
    max_bad_images: int = own(100, "unreadable images replaced in a run; one more stops it", ge=0)
    grad_reduce: str = own(
        "sum",
        "reduction of gradients over the micro-batches of a step. sum (PySOT's): k of them make k "
        "times fewer steps, each k times as long, so that a file's learning rates suit any k. "
        "mean: a step is as long as with one",
        choices=("sum", "mean"),
    )
    accumulate: int = own(1, "micro-batches per process and step", **_POSITIVE)
    sync_bn: bool = own(False, "batch norm over the micro-batches of all processes")
    precision: str = own("fp32", "forward pass; fp16 on CUDA alone", choices=tuple(PRECISIONS))
    compile: bool = own(False, "torch.compile for the network")
    ema: float = own(0.0, "decay per step of averaged weights, as 0.999; 0: none", ge=0, lt=1)
    save_minutes: float = own(10.0, "minutes between checkpoints within an epoch; 0: none", ge=0)
    keep: int = own(0, "checkpoints of whole epochs to keep; 0: all", ge=0)
    loggers: tuple[str, ...] = own(
        ("tensorboard", "jsonl"),
        "where numbers go, names in pysot.core.registry.LOGGERS: tensorboard, jsonl, wandb, mlflow",
    )
    log_images: int = own(500, "steps between two pictures of pairs; 0: none", ge=0)
    frozen: tuple[str, ...] = own((), "fixed parts: neck, rpn_head, mask_head, refine_head")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of an image of a pair."""

    shift: Number = key(0, "largest displacement per axis in pixels", ge=0)
    scale: float = key(0.0, "largest relative change of size per axis", ge=0, le=0.9)
    blur: float = key(0.0, "probability of a motion blur", **_SHARE)
    flip: float = key(0.0, "probability of a horizontal mirror image", **_SHARE)
    color: float = key(1.0, "probability of a color offset", **_SHARE)


@dataclass(frozen=True)
class VideoKeys:
    """Further keys with ``AUGMENTATION: video``, where SCALE is a logarithm."""

    near: float = own(0.5, "share of shifts that are up to half as far", **_SHARE)
    aspect: float = own(0.0, "largest change of the aspect ratio, as a logarithm", **_LOGARITHM)
    reflect: float = own(
        0.0, "probability of a mirror image in place of one color beyond the original", **_SHARE
    )
    light: float = own(0.0, "probability of another contrast and brightness", **_SHARE)
    contrast: float = own(0.35, "largest change of contrast, as a logarithm", **_LOGARITHM)
    brightness: float = own(30.0, "largest change of brightness, of 255", ge=0, le=255)
    tint: float = own(0.15, "largest change of a color channel, as a logarithm", **_LOGARITHM)
    saturation: float = own(0.5, "largest change of saturation, in half of the cases", **_SHARE)
    gray: float = own(0.0, "probability that an image loses its colors", **_SHARE)
    blur_length: int = own(11, "longest motion blur in pixels", ge=3, le=99)
    low_resolution: float = own(0.0, "probability of a lower resolution", **_SHARE)
    reduction: float = own(0.2, "smallest factor on the resolution", ge=0.02, le=1)
    noise: float = own(0.0, "probability of noise", **_SHARE)
    deviation: float = own(10.0, "largest standard deviation of the noise, of 255", ge=0, le=255)
    jpeg: float = own(0.0, "probability of being compressed as JPEG", **_SHARE)
    quality: int = own(25, "lowest quality of JPEG; the highest is 80", ge=1, le=80)


AUGMENTATION_KEYS = {"video": VideoKeys}
"""Further keys of ``DATASET.TEMPLATE`` and ``.SEARCH``, by ``DATASET.AUGMENTATION``."""


@dataclass(frozen=True)
class TrainingSet:
    """A set that NAMES may list; you may add sections of this kind."""

    root: str = key("", "folder of crops")
    anno: str = key("", "JSON of annotations")
    frame_range: int = key(100, "largest distance in frames of the images of a pair", ge=0)
    num_use: int = key(-1, "videos to draw per pass; -1: each once", ge=-1, **_MANY)
    every: int = own(1, "take every n-th box of a track", **_POSITIVE)
    template_views: int = own(0, "in place of DATASET.VIEWS.TEMPLATE, if above 0", ge=0, le=10**4)
    search_views: int = own(0, "in place of DATASET.VIEWS.SEARCH, if above 0", ge=0, le=10**4)


def _crops(name: str, anno: str, frame_range: int, num_use: int = -1) -> TrainingSet:
    folder = f"training_dataset/{name}"
    return TrainingSet(f"{folder}/crop511", f"{folder}/{anno}", frame_range, num_use)


@dataclass(frozen=True)
class Composites:
    """Drawn scenes, objects of other sets pasted on images; you may add sections of this TYPE."""

    type: str = own("composites", "composites", choices=("composites",))
    cutouts: tuple[str, ...] = own(
        (), "sets with masks, whose objects are cut out; one that is named twice: twice as often"
    )
    backgrounds: tuple[str, ...] = own((), "sets or folders of images to paste on; empty: CUTOUTS")
    scenes: int = own(2000, "scenes, which are videos of one target", ge=1, le=10**6)
    frames: int = own(6, "frames of a scene", ge=1, le=10**4)
    templates: int = own(
        2,
        "first frames of a scene, without distractors and occluders, which are templates, where "
        "the others are search images; 0: all are both",
        ge=0,
    )
    seed: int = own(0, "another one draws other scenes", ge=0)
    frame_range: int = own(100, "largest distance in frames of the images of a pair", ge=0)
    num_use: int = own(-1, "scenes to draw per pass; -1: each once", ge=-1, **_MANY)
    template_views: int = own(0, "in place of DATASET.VIEWS.TEMPLATE, if above 0", ge=0, le=10**4)
    search_views: int = own(0, "in place of DATASET.VIEWS.SEARCH, if above 0", ge=0, le=10**4)
    distractors: int = own(3, "most objects beside the target", ge=0, le=100)
    likes: float = own(0.4, "probability that one is the target's, in another light", **_SHARE)
    occluders: float = own(0.3, "probability of an object before the target", **_SHARE)
    hidden: float = own(0.5, "largest share of the target that it hides", **_SHARE)
    shared: float = own(0.5, "probability that a frame has the background of its scene", **_SHARE)
    rotation: float = own(0.2, "usual rotation of objects in radians; at most twice", ge=0, le=3)
    scale: float = own(
        0.2, "largest change of the background's scale between frames, as a logarithm", ge=0, le=2
    )
    aspect: float = own(0.12, "largest change of aspect ratio, as a logarithm", ge=0, le=2)
    light: float = own(0.25, "largest change of brightness, as a logarithm", ge=0, le=2)
    blur: float = own(0.15, "probability of a motion blur of an object", **_SHARE)
    low_resolution: float = own(0.2, "probability of a frame of low resolution", **_SHARE)
    smallest: float = own(
        0.1, "smallest side of a target as a share of the background's", ge=0.02, le=1
    )
    largest: float = own(0.36, "largest one", ge=0.02, le=1)


ROWS = {"crops": TrainingSet, "composites": Composites}
"""Sections of ``DATASET`` that ``NAMES`` may list, by their ``TYPE``; without one: crops."""


@dataclass(frozen=True)
class Views:
    """Fixed augmented views of every crop; a pair draws two. 0: a fresh one for every pair."""

    template: int = own(0, "views of each crop as template", ge=0, le=10**4)
    search: int = own(0, "views of each crop as search image", ge=0, le=10**4)
    seed: int = own(0, "of the views; with them, gray is drawn per view", ge=0)


@dataclass(frozen=True)
class Dataset:
    """Training pairs."""

    augmentation: str = own(
        "default", "what changes images: default (PySOT's), video, or what a plug-in registers"
    )
    template: Augmentation = Augmentation(shift=4, scale=0.05)
    search: Augmentation = Augmentation(shift=64, scale=0.18)
    views: Views = Views()
    neg: float = key(0.2, "share of pairs of two different objects", **_SHARE)
    neg_same_category: float = own(
        -1.0,
        "share of those whose objects are of one category, in two videos; the others' are of two. "
        "Below 0: the second object is any other of any set (PySOT)",
        le=1,
    )
    gray: float = key(0.0, "probability of a gray pair", **_SHARE)
    names: tuple[str, ...] = key(("VID", "COCO", "DET", "YOUTUBEBB"), "sets to train on")
    vid: TrainingSet = _crops("vid", "train.json", 100, 100000)
    youtubebb: TrainingSet = _crops("yt_bb", "train.json", 3)
    coco: TrainingSet = _crops("coco", "train2017.json", 1)
    det: TrainingSet = _crops("det", "train.json", 1)
    composites: Composites = Composites()
    videos_per_epoch: int = key(
        600000, "pairs per epoch; 0 or less: the sum of all NUM_USE", **_MANY
    )


@dataclass(frozen=True)
class Backbone:
    """Backbone."""

    type: str = key("res50", "a name in pysot.core.registry.BACKBONES, or timm:NAME")
    kwargs: dict = key({}, _KWARGS)
    pretrained: str = key(
        "", "ImageNet weights: a file, torchvision://NAME, package://NAME, or timm://"
    )
    train_layers: tuple[str, ...] = key(("layer2", "layer3", "layer4"), "layers that learn")
    layers_lr: float = key(0.1, "factor on their learning rate", ge=0)
    train_epoch: int = key(10, "epoch from which they learn, counted from 0")


@dataclass(frozen=True)
class Adjust:
    """Neck."""

    adjust: bool = key(True, "whether there is one")
    kwargs: dict = key({}, _KWARGS)
    type: str = key("AdjustAllLayer", "a name in pysot.core.registry.NECKS")


@dataclass(frozen=True)
class RPN:
    """Head that scores and refines candidates."""

    type: str = key("MultiRPN", "a name in pysot.core.registry.RPN_HEADS")
    kwargs: dict = key({}, _KWARGS)
    labels: str = own("", "a name in pysot.core.registry.LABELS; empty: the head's own")
    loss: str = own("", "a name in pysot.core.registry.LOSSES; empty: the head's own")


@dataclass(frozen=True)
class Mask:
    """Mask head."""

    mask: bool = key(False, "whether there is one")
    type: str = key("MaskCorr", "a name in pysot.core.registry.MASK_HEADS")
    kwargs: dict = key({}, _KWARGS)


@dataclass(frozen=True)
class Refine:
    """Refinement of masks."""

    refine: bool = key(False, "whether there is one")
    type: str = key("Refine", "a name in pysot.core.registry.REFINE_HEADS")


@dataclass(frozen=True)
class Anchor:
    """Anchors, in training and tracking."""

    stride: int = key(8, "pixels of the image between two cells", **_FEW)
    ratios: tuple[Number, ...] = key((0.33, 0.5, 1, 2, 3), "heights over widths", **_FACTOR)
    scales: tuple[Number, ...] = key((8,), "sides in strides, at ratio 1", **_FACTOR)
    anchor_num: int = key(5, "number of ratios times scales", **_FEW)


@dataclass(frozen=True)
class Track:
    """Tracking; sizes in pixels of the crops that the network gets."""

    type: str = key("SiamRPNTracker", "a name in pysot.core.registry.TRACKERS")
    penalty_k: float = key(0.04, "penalty on changes of scale and aspect ratio", search="0,0.5")
    window_influence: float = key(0.44, "share of the cosine window in the choice", search="0,0.8")
    lr: float = key(
        0.4,
        "share of a new size in the next one (SiamFC: of a new scale)",
        ge=0,
        search="0.05,0.95",
    )
    exemplar_size: int = key(127, "side of the template", **_SIDE)
    instance_size: int = key(255, "side of the search region", **_SIDE)
    base_size: int = key(
        8, "excess of the response over the sizes' difference in strides + 1", **_EXCESS
    )
    context_amount: float = key(0.5, "margin as a share of width + height", ge=0, le=10)
    lost_instance_size: int = key(831, "INSTANCE_SIZE of a lost target", **_SIDE)
    confidence_low: float = key(0.85, "score below which the target is lost", search="0.5,0.95")
    confidence_high: float = key(0.998, "score above which it is found again", search="0.95,1")
    mask_thershold: float = key(
        0.3, "probability above which a pixel is the target's", search="0.1,0.6"
    )
    mask_output_size: int = key(127, "side of a mask in its own pixels", **_SIDE)
    scale_num: int = own(3, "SiamFC: search regions per frame", ge=1, le=64)
    scale_step: float = own(
        1.0375, "SiamFC: factor from one to the next", ge=0.5, le=2, search="1.01,1.1"
    )
    scale_penalty: float = own(
        0.9745, "SiamFC: factor on all responses but the middle one", gt=0, search="0.9,1"
    )
    distractor_influence: float = own(
        0.5, "DaSiamRPN: weight of distractors", ge=0, lt=1, search="0,0.8"
    )
    distractor_threshold: float = own(
        0.7,
        "DaSiamRPN: score of a distractor, and of a target to update the template",
        search="0.5,0.95",
    )
    distractor_num: int = own(3, "DaSiamRPN: distractors per frame, at most", ge=0, le=1024)
    nms_iou: float = own(0.1, "DaSiamRPN: overlap from which two boxes are one object", **_SHARE)
    template_lr: float = own(0.0, "DaSiamRPN: rate of all running averages; 0: fixed", **_SHARE)
    lost_step: int = own(
        0,
        "DaSiamRPN: growth of the search region per lost frame, a multiple of 16, up to "
        "LOST_INSTANCE_SIZE; 0: the target is never lost",
        ge=0,
        le=4096,
    )
    small_instance_size: int = own(
        0,
        "DaSiamRPN: INSTANCE_SIZE of targets under 0.4 % of the first frame; 0: as others",
        ge=0,
        le=4096,
    )
    backend: str = own(
        "auto",
        "what runs the network: torch runs checkpoints; onnxruntime and openvino run folders that "
        "pysot export wrote, without PRECISION, COMPILE, WINOGRAD. auto: torch or onnxruntime",
        choices=("auto", "torch", "onnxruntime", "openvino"),
    )
    precision: str = own("fp32", "numbers of the network", choices=tuple(PRECISIONS))
    compile: bool = own(False, "torch.compile for the network; on CUDA with CUDA graphs")
    winograd: bool = own(
        True,
        "wide 3x3 convolutions by Winograd's algorithm, on a CPU in fp32: faster, for four times "
        "the memory of their weights (all of siamrpn_r50_l234_dwxcorr: 674 instead of 216 MB)",
    )


@dataclass(frozen=True)
class Settings:
    """Configuration."""

    meta_arc: str = key("siamrpn_r50_l234_dwxcorr", "name of the network in messages")
    plugins: tuple[str, ...] = own(
        (), "modules, or paths of .py files, to import first: they register parts of their own"
    )
    strict_keys: bool = own(
        True, "whether an unknown key is an error; false: a warning, as for files of a fork"
    )
    cuda: bool = key(True, "whether DEVICE auto may choose CUDA")
    device: str = own(
        "auto", "auto: CUDA, else Apple's MPS, else the CPU; or a name of torch.device"
    )
    train: Train = Train()
    dataset: Dataset = Dataset()
    backbone: Backbone = Backbone()
    adjust: Adjust = Adjust()
    rpn: RPN = RPN()
    mask: Mask = Mask()
    refine: Refine = Refine()
    anchor: Anchor = Anchor()
    track: Track = Track()


@dataclass(frozen=True)
class TrackParams(Track, Anchor):
    """A tracker's parameters: the keys of ``TRACK`` and ``ANCHOR``."""
