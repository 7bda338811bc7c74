"""Arrays of many rows on disk, written block by block and resumed after any interruption.

A folder holds one ``.npy`` file per array and ``record.jsonl``. The record's first line says what
the arrays are of; each further one that a block of rows was written, and from which inputs. A block
counts only if its last line says so, which is written after its rows have reached the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.io.files import atomic_write, naming

_RECORD = "record.jsonl"
_OTHER = "another version"  # of the files, where a record cannot be read


@dataclass(frozen=True, eq=False)
class Rows:
    """One array: the shape and the type of its rows, and where its blocks begin and end."""

    shape: tuple[int, ...]
    dtype: str
    ends: NDArray  # (blocks + 1,) int64: block b has the rows ends[b] to ends[b + 1], exclusive

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def header(self) -> bytes:
        """The beginning of the file, in NumPy's format."""
        shape = (int(self.ends[-1]), *self.shape)
        content = {"descr": np.dtype(self.dtype).str, "fortran_order": False, "shape": shape}
        text = repr(content).encode()
        size = -(-(10 + len(text) + 1) // 64) * 64
        return (
            b"\x93NUMPY\x01\x00" + (size - 10).to_bytes(2, "little") + text.ljust(size - 11) + b"\n"
        )

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + int(self.ends[-1]) * self.row_bytes


@dataclass(eq=False)
class RowStore:
    """The arrays of a folder, by name, of what ``identity`` describes, item by item."""

    folder: Path
    arrays: Mapping[str, Rows]
    identity: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._lines: dict[int, dict[str, Any]] = {}  # the last of each block

    # ------------------------------------------------------------------------------- state

    def open(self) -> str:
        """Read the record; one of something else counts as none. Returns in what that differs."""
        self._lines, lines = {}, _read_lines(self.folder / _RECORD)
        if not lines:
            return ""
        if lines[0] != _plain(self.identity):
            return differences(lines[0], self.identity) or _OTHER
        self._lines = {line["block"]: line for line in lines[1:] if "block" in line}
        return ""

    def missing(self, inputs: Sequence[str]) -> list[int]:
        """Return the blocks that are yet to be written, or whose inputs have changed.

        Where some are missing, the writing was interrupted: the others' content is compared with
        what was recorded of it.
        """
        kept = [b for b, text in enumerate(inputs) if self._lines.get(b, {}).get("inputs") == text]
        whole = all(_size(path) == self.arrays[n].file_bytes for n, path in self._paths.items())
        if len(kept) < len(inputs) or not whole:
            kept = [
                block for block in kept if self._content(block) == self._lines[block]["content"]
            ]
        return sorted(set(range(len(inputs))) - set(kept))

    def changed(self, blocks: Sequence[int]) -> int:
        """Return how many of some missing blocks were written once."""
        return sum(block in self._lines for block in blocks)

    @property
    def bad(self) -> dict[str, str]:
        """What was said of rows that have no content, over all blocks."""
        return {key: text for line in self._lines.values() for key, text in line["bad"].items()}

    @property
    def total_bytes(self) -> int:
        """Disk space of all arrays."""
        return sum(array.file_bytes for array in self.arrays.values())

    @property
    def bytes_to_write(self) -> int:
        """Disk space that writing will take, beside what the files have now."""
        have = sum(min(_disk(p), self.arrays[n].file_bytes) for n, p in self._paths.items())
        return self.total_bytes - have

    @property
    def free_bytes(self) -> int:
        """Disk space that is left."""
        return shutil.disk_usage(self.folder).free

    # ----------------------------------------------------------------------------- writing

    def begin(self) -> None:
        """Make the folder, and in place of a record of something else a new one.

        Raises:
            OSError: If it cannot be written.
        """
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._lines:
                for path in self._paths.values():
                    path.unlink(missing_ok=True)
        with atomic_write(self.folder / _RECORD, sync=True) as file:
            for line in (self.identity, *self._lines.values()):
                file.write(json.dumps(line) + "\n")

    def write(
        self, block: int, inputs: str, content: Mapping[str, NDArray], bad: Mapping[str, str]
    ) -> None:
        """Write the rows of a block; ``bad`` says of rows, by a key, why they have no content.

        Raises:
            OSError: If the disk is full, or the files cannot be written.
        """
        if block in self._lines:
            self._note({"block": block, "inputs": "", "content": 0, "bad": {}})
        for name, path in self._paths.items():
            array = self.arrays[name]
            with naming(path), open(path, "r+b" if path.exists() else "w+b") as file:
                file.write(array.header)
                file.seek(int(array.ends[block]) * array.row_bytes, os.SEEK_CUR)
                file.write(_bytes(content[name], array))
                file.flush()
                os.fsync(file.fileno())
        self._note(
            {"block": block, "inputs": inputs, "content": self._content(block), "bad": dict(bad)}
        )

    def _note(self, line: dict[str, Any]) -> None:
        path = self.folder / _RECORD
        with naming(path), open(path, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._lines[line["block"]] = line

    # ----------------------------------------------------------------------------- reading

    def rows(self, name: str) -> NDArray:
        """Map all rows of an array into memory; what is written to the result stays there.

        Raises:
            ValueError: If the file is not of the array.
        """
        path = self._paths[name]
        found = np.load(path, mmap_mode="c")
        array = self.arrays[name]
        expected = (int(array.ends[-1]), *array.shape)
        if found.shape != expected or found.dtype != np.dtype(array.dtype):
            raise ValueError(
                f"{path}: {found.shape} {found.dtype}, expected {expected} {array.dtype}"
            )
        return found

    @property
    def _paths(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.npy" for name in self.arrays}

    def _content(self, block: int) -> int:
        """Return a check sum of a block's rows as they are on the disk; -1 if some are missing."""
        total = 0
        for name, path in self._paths.items():
            array = self.arrays[name]
            first, end = (int(row) * array.row_bytes for row in array.ends[block : block + 2])
            try:
                with open(path, "rb") as file:
                    if file.read(len(array.header)) != array.header:
                        return -1
                    file.seek(first, os.SEEK_CUR)
                    data = file.read(end - first)
            except OSError:
                return -1
            if len(data) < end - first:
                return -1
            total = zlib.crc32(data, total)
        return total


def differences(one: Any, other: Mapping[str, Any]) -> str:
    """Name the items in which two identities differ."""
    if not isinstance(one, dict):
        return ""
    ours = _plain(other)
    return ", ".join(key for key in ours | one if one.get(key) != ours.get(key))


def read_identity(folder: Path) -> Any:
    """Return what the arrays of a folder are of; None where that cannot be read."""
    lines = _read_lines(folder / _RECORD)
    return lines[0] if lines else None


def _read_lines(path: Path) -> list[Any]:
    """Return the lines of a record up to the first that is not whole."""
    lines: list[Any] = []
    try:
        for text in path.read_text("utf-8").splitlines():
            lines.append(json.loads(text))
    except FileNotFoundError:
        return []
    except (ValueError, OSError):
        return lines or [None]
    return lines


def _plain(identity: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(identity))


def _bytes(content: NDArray, array: Rows) -> NDArray:
    return np.ascontiguousarray(content, array.dtype).reshape(-1).view(np.uint8)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _disk(path: Path) -> int:
    """Return the disk space of a file, which may have holes."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return getattr(found, "st_blocks", -(-found.st_size // 512)) * 512
