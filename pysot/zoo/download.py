"""Downloads that resume, are checked, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, url2pathname, urlopen

from tqdm import tqdm

logger = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds without a byte
_TRIES = 3  # per address; each goes on where the one before broke off
_BLOCK = 1 << 16


def fetch(
    urls: Sequence[str],
    path: Path,
    sha256: str = "",
    size: int = 0,
    timeout: float = _TIMEOUT,
) -> None:
    """Download a file from the first address that has it; other processes wait meanwhile.

    What a broken download left is kept as ``<name>.part``, and the next one goes on from there.

    Args:
        urls: Addresses, ``https://``, ``file://``, or ``gdrive://`` and the id of a file.
        path: Where the file goes.
        sha256: What the file must have; empty: anything.
        size: Bytes that it must have; 0: any number.
        timeout: Seconds to wait for the next byte.

    Raises:
        OSError: If no address has the file; the message has every reason, and ``path``.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with FileLock(f"{path}.lock"):
        reasons = []
        for url in urls:
            if path.is_file():  # another process was faster
                return
            reason = _fetch_one(url, part, sha256, size, timeout)
            if not reason:
                os.replace(part, path)
                return
            reasons.append(f"{url}: {reason}")
    raise OSError(
        f"cannot download {path.name}: {'; '.join(reasons) or 'no address is known'}. "
        f"Download it elsewhere and put it at {path}"
    )


def _fetch_one(url: str, part: Path, sha256: str, size: int, timeout: float) -> str:
    """Download to ``part``; return why that failed, or an empty text."""
    reason = ""
    for _ in range(_TRIES):
        before = _size(part)
        try:
            _copy(url, part, timeout)
        except (OSError, HTTPException, ValueError) as error:
            reason = _describe(error)
            if isinstance(error, HTTPError) or _size(part) <= before:
                return reason  # neither a refusal nor silence is cured by asking again
            continue
        if reason := _difference(part, sha256, size):
            part.unlink()  # a wrong beginning cannot be completed
            if not before:
                return reason
            continue
        return ""
    return reason


def _copy(url: str, part: Path, timeout: float) -> None:
    """Append to ``part`` what it lacks of the file at ``url``."""
    scheme, _, rest = url.partition("://")
    if scheme == "gdrive":
        _copy_from_drive(rest, part)
    elif scheme == "file":
        shutil.copyfile(url2pathname(rest), part)
    else:
        _copy_from_web(url, part, timeout)


def _copy_from_web(url: str, part: Path, timeout: float) -> None:
    done = _size(part)
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urlopen(request, timeout=timeout) as answer:
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        start = done if answer.status == 206 and resumed else 0
        length = int(answer.headers.get("Content-Length") or 0)
        total = start + length or None
        bar = {"initial": start, "total": total, "unit": "B", "unit_scale": True, "leave": False}
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(desc=part.stem, dynamic_ncols=True, disable=None, **bar) as progress,
        ):
            while block := answer.read(_BLOCK):
                file.write(block)
                progress.update(len(block))
    if total and _size(part) < total:
        raise OSError(f"the connection broke off after {_size(part)} of {total} bytes")


def _copy_from_drive(number: str, part: Path) -> None:
    """Google Drive asks a question before it sends a large file; gdown answers it."""
    try:
        import gdown
    except ImportError:
        raise OSError("Google Drive needs gdown: pip install gdown") from None
    try:
        done = gdown.download(id=number, output=str(part), quiet=True, resume=part.is_file())
    except Exception as error:  # of requests, and gdown's own
        raise OSError(str(error).strip().split("\n")[0]) from error
    if done is None:
        raise OSError("Google Drive did not send the file")


def _difference(part: Path, sha256: str, size: int) -> str:
    """Return how a file differs from what was published, or an empty text."""
    if size and _size(part) != size:
        return f"it has {_size(part)} bytes instead of {size}"
    if sha256 and (digest := sha256_of(part)) != sha256:
        return f"its SHA-256 is {digest[:12]}... instead of {sha256[:12]}..."
    return ""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _describe(error: Exception) -> str:
    if isinstance(error, HTTPError) and error.code == 416:
        return "the server has less of it than is here"
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)
