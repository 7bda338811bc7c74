"""Downloads that resume, are checked, and appear whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from toolkit.io.files import acquire, naming, sha256_of
from toolkit.io.packages import load_package

_TIMEOUT = 30.0  # seconds without a byte
_TRIES = 5  # per address; each goes on where the one before broke off
_BLOCK = 1 << 16
_DRIVE = "gdrive://"


def fetch(
    urls: Sequence[str],
    path: Path,
    sha256: str = "",
    size: int = 0,
    check: Callable[[Path], object] | None = None,
    timeout: float = _TIMEOUT,
) -> None:
    """Download a file from the first address that has it; other processes wait meanwhile.

    What a broken download left is kept as ``<stem>.part<suffix>``; the next one goes on from there.

    Args:
        urls: Addresses: ``https://``, ``file://``, or ``gdrive://`` and the id of a file.
        path: Where the file goes.
        sha256: What the file must have; empty: anything.
        size: Bytes that it must have; 0: any number.
        check: Raises ``ValueError`` for a file that is no good.
        timeout: Seconds to wait for the next byte.

    Raises:
        OSError: If no address has the file, with the reason of each, or ``path`` is not writable.
    """
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    download = _Download(part, sha256, size, check, timeout)
    reasons = []
    with naming(path), acquire(path.with_name(f".{path.name}.lock"), wait=True):
        for url in urls:
            if path.is_file():  # another process was faster
                return
            reason = download.attempt(url)
            if not reason:
                os.replace(part, path)
                download.remove()
                return
            reasons.append(f"{url}: {reason}")
    raise OSError(f"cannot download {path.name}: {'; '.join(reasons) or 'no address is known'}")


@dataclass(frozen=True)
class _Download:
    """A file that is not whole yet, and what it must be in the end."""

    part: Path
    sha256: str
    size: int
    check: Callable[[Path], object] | None
    timeout: float

    @property
    def done(self) -> int:
        """Bytes that are here."""
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def _origin(self) -> Path:
        """Beside the part: the address that it came from, and the server's name of its content."""
        return self.part.with_name(f"{self.part.name}.json")

    def remove(self) -> None:
        """Remove what is here: a wrong beginning cannot be completed."""
        self.part.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def attempt(self, url: str) -> str:
        """Download from an address; return why that failed, or an empty text."""
        reason = ""
        for _ in range(_TRIES):
            before = self.done
            try:
                if not (before and self.sha256 and not self._fault()):
                    self._copy(url)
            except (OSError, HTTPException, ValueError) as error:
                reason = _describe(error)
                if self.done == before:  # asking again cures neither a refusal nor silence
                    return reason
                continue
            reason = self._fault()
            if not reason:
                return ""
            self.remove()
            if not before:
                return reason
        return reason

    def _fault(self) -> str:
        """Return how the file differs from what was published, or an empty text."""
        if self.size and self.done != self.size:
            return f"it sent {self.done} bytes instead of {self.size}"
        if self.sha256 and (digest := sha256_of(self.part)) != self.sha256:
            return f"the SHA-256 is {digest[:12]}... instead of {self.sha256[:12]}..."
        try:
            if self.check:
                self.check(self.part)
        except ValueError as error:
            return f"it sent something else: {str(error).removeprefix(f'{self.part}: ')}"
        return ""

    def _copy(self, url: str) -> None:
        """Append to the part what it lacks of the file at ``url``."""
        if url.startswith(_DRIVE):
            self._copy_from_drive(url.removeprefix(_DRIVE))
            return
        from tqdm import tqdm

        with self._answer(url) as answer:
            start = self.done if answer.status == 206 else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            if self.size and total and total != self.size:
                raise OSError(f"it offers {total} bytes instead of {self.size}")
            name = answer.headers.get("ETag", "")
            name = answer.headers.get("Last-Modified", "") if name[:2] in ("", "W/") else name
            self._origin.write_text(json.dumps([url, name]), encoding="utf-8")
            bar = {"initial": start, "total": total, "unit": "B", "unit_scale": True}
            with (
                open(self.part, "ab" if start else "wb") as file,
                tqdm(desc=self.part.stem, dynamic_ncols=True, disable=None, **bar) as progress,
            ):
                while (block := answer.read(_BLOCK)) and not 0 < self.size < file.tell():
                    file.write(block)
                    progress.update(len(block))
        if total and self.done < total:
            raise OSError(f"the connection broke off after {self.done} of {total} bytes")

    def _answer(self, url: str) -> HTTPResponse:
        """Ask for what is missing; for all, where that need not be of the same file."""
        headers, done = {"User-Agent": "pysot"}, self.done
        origin, name = self._read_origin()
        if done and (self.sha256 or (origin == url and name)):
            headers["Range"] = f"bytes={done}-"
            if origin == url and name:
                headers["If-Range"] = name
        try:
            answer = urlopen(Request(url, headers=headers), timeout=self.timeout)
        except HTTPError as error:
            if error.code == 416:
                self.remove()
            raise
        sent = answer.headers.get("Content-Range", "")
        if answer.status == 206 and not ("Range" in headers and sent.startswith(f"bytes {done}-")):
            answer.close()
            self.remove()
            raise OSError("it sent another part of the file than it was asked for")
        return answer

    def _read_origin(self) -> tuple[str, str]:
        with suppress(OSError, ValueError):
            url, name = json.loads(self._origin.read_text(encoding="utf-8"))
            return str(url), str(name)
        return "", ""

    def _copy_from_drive(self, number: str) -> None:
        """Google Drive asks a question before it sends a large file; gdown answers it."""
        gdown = load_package("gdown", "gdown", "Google Drive needs")
        whole = self.part.with_name(f"{self.part.stem}.drive{self.part.suffix}")
        whole.unlink(missing_ok=True)  # gdown would take it for what was asked for
        options = {"quiet": not sys.stderr.isatty(), "resume": True, "timeout": self.timeout}
        try:
            gdown.download(id=number, output=str(whole), **options)
        except Exception as error:  # of requests, and gdown's own
            raise OSError(" ".join(str(error).split())) from error
        if not whole.is_file():
            raise OSError("Google Drive did not send the file")
        os.replace(whole, self.part)


def _describe(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    text = str(getattr(reason, "strerror", None) or reason).strip() or type(error).__name__
    text = text.splitlines()[0]
    return f"HTTP {error.code} {text}" if isinstance(error, HTTPError) else text
