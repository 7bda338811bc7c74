"""Reading of checkpoints of PySOT and our own, writing of weights, and the choice of a device."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pysot.core.card import read_card
from pysot.core.values import shown
from toolkit.io.files import atomic_write, write_bytes
from toolkit.io.names import first_line

logger = logging.getLogger(__name__)

#: Suffixes of the files that `write_weights` writes.
WEIGHT_FILES = (".safetensors", ".pth")

_REPORTED_KEYS = 8
_CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "net")
_WRAPPERS = ("module", "_orig_mod", "net", "model", "backbone")
_PREFIXES = ("", "features.", "backbone.", "backbone.features.")  # of a backbone's weights


def read_checkpoint(path: str | Path) -> Any:
    """Read a file of ``torch.save`` or safetensors, onto the CPU, without running code from it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is cut short, or holds objects that need code to run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint not found: {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if (size := _unpacked_size(path)) > 2 * path.stat().st_size + 2**20:
        raise ValueError(f"{path} is damaged or no checkpoint (it would unpack to {size} bytes)")
    try:
        with _numpy_scalars_allowed(), warnings.catch_warnings():
            # torch warns of pickle protocols that it may not know, then says what it refuses
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # the reason hides among advice, some of which would disarm the protection
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().split("\n")[0]
        raise ValueError(
            f"{path}: refused, because it is no plain checkpoint of tensors and numbers; loading "
            f"it could run code hidden in it ({reason})"
        ) from error
    except PermissionError:
        raise
    except Exception as error:  # torch checks little: a damaged file raises almost anything
        raise ValueError(f"{path} is damaged or no checkpoint ({first_line(error)})") from error


def _unpacked_size(path: Path) -> int:
    """Return the bytes that an archive says it holds; torch writes them as they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return 0  # the older format, or for torch to find fault with


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load

    digest, content = read_card(path).get("sha256"), path.read_bytes()
    try:
        weights = load(content)
    except Exception as error:  # of a class of its own
        raise ValueError(f"{path} is damaged or no checkpoint ({error})") from error
    if digest not in (None, _digest_of_data(content)):
        raise ValueError(f"{path} is damaged: its weights are not those that its card is of")
    return weights


def _digest_of_data(content: bytes) -> str:
    """Return the SHA-256 of what follows the header of a safetensors file."""
    start = 8 + int.from_bytes(content[:8], "little")
    return hashlib.sha256(memoryview(content)[start:]).hexdigest()


def write_weights(path: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write weights alone: with a card as ``.safetensors``, or as PySOT reads them as ``.pth``.

    The card gets the SHA-256 of the data, which safetensors does not check by itself.

    Raises:
        OSError: If the file cannot be written; nothing half-written stays behind.
    """
    from safetensors.torch import save

    weights = {key: value.detach().cpu().clone() for key, value in weights.items()}
    if path.suffix != ".safetensors":
        with atomic_write(path, "wb") as file:
            torch.save({"state_dict": weights}, file)
        return
    content = save(weights)
    start = 8 + int.from_bytes(content[:8], "little")
    card = {**card, "sha256": _digest_of_data(content)}
    # the package would write the two in any order
    metadata = {"__metadata__": {"format": "pt", "card": json.dumps(card)}}
    header = json.dumps({**metadata, **json.loads(content[8:start])}).encode()
    header += b" " * (-len(header) % 8)
    write_bytes(path, len(header).to_bytes(8, "little") + header + content[start:])


@contextlib.contextmanager
def _numpy_scalars_allowed() -> Any:
    """Let NumPy numbers pass: PySOT stores the learning rate as one."""
    if not hasattr(torch.serialization, "safe_globals"):  # torch < 2.5
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scalar = np.float64(0).__reduce__()[0]
    allowed = [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.int64))]
    # the module moved from numpy.core to numpy._core in NumPy 2; files carry either name
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    with torch.serialization.safe_globals(allowed + [(scalar, name) for name in names]):
        yield


def state_dict_of(
    checkpoint: Any, source: str, own: Collection[str] = (), rename: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the weights in a checkpoint under the names of a model.

    They are the checkpoint itself or lie in it as ``state_dict``, ``model``, ``net``, or the like,
    at any depth. From each name leading ``module.``, ``_orig_mod.``, ``net.``, ``model.`` and
    ``backbone.`` are dropped, in any order, until it is one of ``own``, bare or below the
    backbone; ``module`` and ``_orig_mod`` within a name, too. ``rename`` maps the beginnings of
    names, in whole parts, to others.

    Raises:
        ValueError: If there are no weights in it, two sets of them, or two entries of one name
            of the model. The message names ``source``.
    """
    weights = _weights_in(checkpoint, source)
    if weights is None:
        raise ValueError(f"{source} holds no weights (expected names and tensors, or 'state_dict')")
    known = {name.removeprefix(prefix) for name in own for prefix in _PREFIXES}
    unused, found = set(rename or {}), {}
    for key, value in weights.items():
        if not isinstance(key, str):
            raise ValueError(f"{source}: expected names of weights, found {shown(key)}")
        name = _name_in(known, _renamed(key, rename or {}, unused))
        if name in found and (name in known or not known):
            raise ValueError(f"{source} holds {name} twice, under different names")
        found[key if name in found else name] = value
    if unused:
        old = ", ".join(sorted(unused))
        logger.warning("TRAIN.PRETRAINED_RENAME: no name in %s begins with %s", source, old)
    return found


def _weights_in(checkpoint: Any, source: str, depth: int = 5) -> dict[Any, Any] | None:
    """Find the dict that holds tensors; None without any."""
    if not isinstance(checkpoint, dict) or not depth:
        return None
    inner = {key: _weights_in(checkpoint.get(key), source, depth - 1) for key in _CONTAINERS}
    inner = {key: weights for key, weights in inner.items() if weights is not None}
    if len(inner) > 1 and "state_dict" not in inner:
        raise ValueError(f"{source} holds weights as {' and '.join(inner)}; keep one of them")
    if inner:
        return next(iter(inner.values()))
    return checkpoint if any(torch.is_tensor(value) for value in checkpoint.values()) else None


def _unwrapped(name: str) -> Iterator[str]:
    """Yield a name with ever fewer wrappers before it."""
    yield name
    while name.partition(".")[0] in _WRAPPERS and "." in name:
        name = name.partition(".")[2]
        yield name


def _renamed(name: str, rename: Mapping[str, str], unused: set[str]) -> str:
    """Apply the longest beginning in a table that fits, and take it from ``unused``."""
    for old in sorted(rename, key=len, reverse=True):
        for candidate in _unwrapped(name):
            if f"{candidate}.".startswith(f"{old.rstrip('.')}."):
                unused.discard(old)
                rest = candidate[len(old.rstrip(".")) :].lstrip(".")
                return ".".join(part for part in (str(rename[old]).rstrip("."), rest) if part)
    return name


def _name_in(known: Collection[str], name: str) -> str:
    inner = name
    for bare in _unwrapped(name):
        inner = ".".join(part for part in bare.split(".") if part not in ("module", "_orig_mod"))
        if bare in known or inner in known:
            return bare if bare in known else inner
    return inner


def load_weights(
    model: nn.Module,
    path: str | Path,
    may_lack: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> nn.Module:
    """Load a checkpoint into a model, all of it or not at all, and return the model.

    For names and ``rename`` see :func:`state_dict_of` and :func:`placed`. The file may be without
    the whole of a part that ``may_lack`` names: it keeps its weights, and a log line says so.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not fit the model; the message lists missing, unexpected and
            differently shaped entries. Missing ``num_batches_tracked`` counters are accepted.
    """
    own = model.state_dict()
    weights = placed(state_dict_of(read_checkpoint(path), str(path), own, rename), own)
    for part in may_lack:
        entries = {key for key in own if key.startswith(f"{part}.")}
        if entries and not entries & weights.keys():
            logger.info("%s has no %s: it keeps its initial weights", path, part)
            own = {key: value for key, value in own.items() if key not in entries}
    if problems := mismatches(own, weights):
        raise ValueError(f"{path} does not fit this model: " + "; ".join(problems))
    model.load_state_dict(weights, strict=False)
    logger.info("loaded %d entries from %s", len(weights), path)
    return model


def placed(weights: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
    """Put weights below the prefix of a backbone under which most of their names are in ``own``."""
    prefix = max(_PREFIXES, key=lambda prefix: sum(prefix + key in own for key in weights))
    return {prefix + key: value for key, value in weights.items()}


def load_fitting(model: nn.Module, weights: Mapping[str, Any], source: str) -> None:
    """Load the weights whose names and shapes are a model's; a warning lists the others by part.

    Raises:
        ValueError: If none are, or one is no finite, dense real tensor; it names ``source``.
    """
    own = model.state_dict()
    used = {k: v for k, v in weights.items() if k in own and _shape(v) in (own[k].shape, None)}
    known = {key: own[key] for key in used} if any(map(_counts, used)) else own
    if problems := mismatches(known, used if known is not own else weights):
        raise ValueError(f"{source} does not fit: " + "; ".join(problems))
    model.load_state_dict(used, strict=False)
    logger.info("loaded %d entries from %s", len(used), source)
    if rest := _rest(own, weights, used):
        logger.warning("%s fits in part: %s", source, rest)


def _shape(value: Any) -> torch.Size | None:
    return value.shape if torch.is_tensor(value) and not value.is_nested else None


def _counts(key: str) -> bool:
    """Whether an entry is more than a counter, which older files lack."""
    return not key.endswith(("num_batches_tracked", "n_averaged"))


def _rest(own: Collection[str], weights: Collection[str], used: Collection[str]) -> str:
    """Describe by part what keeps its initial weights, and what is left over."""
    texts = []
    kinds = (
        ("at random, if not loaded before", own),
        ("not used", [key for key in weights if key not in own]),
    )
    for kind, keys in kinds:
        total = Counter(key.partition(".")[0] for key in keys if _counts(key))
        left = Counter(k.partition(".")[0] for k in keys if _counts(k) and k not in used)
        parts = [f"{part} ({n} of {total[part]} entries)" for part, n in left.items()]
        texts += [f"{kind}: {shortened(parts)}"] if parts else []
    other = [key for key in weights if key in own and key not in used]
    return "; ".join([*texts, *([f"of another shape: {shortened(other)}"] if other else [])])


def load_pretrain(model: nn.Module, pretrained_path: str | Path) -> nn.Module:
    """Load a checkpoint under PySOT's name for it; see :func:`load_weights`."""
    return load_weights(model, pretrained_path)


def restore_from(
    model: nn.Module, optimizer: torch.optim.Optimizer, ckpt_path: str | Path
) -> tuple[nn.Module, torch.optim.Optimizer, int]:
    """Continue from a training checkpoint, under PySOT's name; returns also its finished epochs.

    Raises:
        OSError, ValueError: If the checkpoint is missing, damaged, or of other parameters.
    """
    content = read_checkpoint(ckpt_path)
    if not isinstance(content, dict) or not {"epoch", "optimizer"} <= content.keys():
        raise ValueError(f"{ckpt_path} is no training checkpoint (no epoch or optimizer in it)")
    load_weights(model, ckpt_path)
    optimizer.load_state_dict(content["optimizer"])
    return model, optimizer, content["epoch"]


def mismatches(own: Mapping[str, Tensor], weights: Mapping[str, Any]) -> list[str]:
    """Describe the entries that are missing, unexpected, of another shape, or no weights."""
    missing, unexpected = (
        [key for key in one.keys() - other.keys() if _counts(key)]
        for one, other in ((own, weights), (weights, own))
    )
    common = own.keys() & weights.keys()
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in common
        if _shape(weights[key]) not in (own[key].shape, None)
    ]
    faults = [
        f"{key} {fault}"
        for key in common
        if _shape(weights[key]) in (own[key].shape, None)
        and (fault := tensor_fault(weights[key], own[key]))
    ]
    parts = (
        *(("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)),
        ("unusable", faults),
    )
    return [f"{len(keys)} {what}: {shortened(keys)}" for what, keys in parts if keys]


def tensor_fault(value: Any, own: Tensor | None = None) -> str:
    """Say why a value is no dense tensor of finite numbers, real or whole as ``own`` has them."""
    if not torch.is_tensor(value):
        return f"is no tensor but {type(value).__name__}"
    if value.layout != torch.strided or value.is_meta or value.is_nested or value.is_quantized:
        return "is no dense tensor"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "is no dense tensor"
    real = value.is_floating_point()
    kind = f"has numbers of type {str(value.dtype).removeprefix('torch.')}"
    try:
        if real and not value.float().isfinite().all():
            return "is not finite"
    except NotImplementedError:  # two of 4 bits in a byte
        return kind
    own = value if own is None else own
    # a counter may be a whole number of another type, in a file that was converted throughout
    whole = real and not own.is_floating_point() and bool((value == value.round()).all())
    if value.is_complex() or (real != own.is_floating_point() and not whole):
        return kind
    return ""


def shortened(keys: Collection[str]) -> str:
    """Return the first of the keys, in order, as a text."""
    shown = ", ".join(sorted(keys)[:_REPORTED_KEYS])
    return shown + (", ..." if len(keys) > _REPORTED_KEYS else "")


def choose_device(name: str = "auto", cuda: bool = True) -> torch.device:
    """Return the named device, or for ``auto`` CUDA (if ``cuda``), else MPS, else the CPU.

    Raises:
        ValueError: If the name means nothing, or the named device is not available.
    """
    if name == "auto":
        if cuda and torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"DEVICE: unknown device {name!r}; known: {_available()}") from error
    if not _is_available(device):
        raise ValueError(f"DEVICE: {name!r} is not available here; available: {_available()}")
    return device


def _is_available(device: torch.device) -> bool:
    if device.type == "cpu":
        return True
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "mps" and torch.backends.mps.is_available()


def _available() -> str:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join(["auto", "cpu", *cuda, *mps])
