"""Training crops in a few large files.

A pack is a folder of tar archives, ``crops-00000.tar`` and so on, that hold the files of a folder
of crops as they are, and an index ``index.npy``: for each crop where its bytes are, sorted by a
hash of its name, so that it can be searched without being read. Any tool can list and unpack the
archives; nothing but ``numpy`` and the standard library is needed to read them.

A pack may also hold search crops decoded, as ``.x.npy`` files, 783 KB each instead of about 30: for
sets that fit the disk so, since nothing is left to decode then.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import mmap
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from toolkit.io.files import atomic_path, atomic_write, write_bytes

INDEX, STAMP = "index.npy", "pack.json"
SHARD_BYTES = 1 << 30
_FORMAT = 1
_GROWTH = 24  # by which decoding makes a crop larger, about; only archives' sizes depend on it
_ROW = np.dtype([("key", "<u8"), ("shard", "<u4"), ("size", "<u4"), ("start", "<u8")])

_File = tuple[str, int, int]  # name, bytes, time of its last change in seconds


class PackReader:
    """Finds the bytes of crops in a pack; copies of it in other processes open their own files.

    Args:
        root: Folder of the pack.

    Attributes:
        decoded: Whether search crops are packed decoded.

    Raises:
        ValueError: If the pack is incomplete or of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        stamp = json.loads((self.root / STAMP).read_text(encoding="utf-8"))
        if stamp.get("format") != _FORMAT:
            raise ValueError(f"{root}: a pack of format {stamp.get('format')}, expected {_FORMAT}")
        self.decoded = bool(stamp["decoded"])
        for number in range(stamp["shards"]):
            if not shard_path(self.root, number).is_file():
                raise ValueError(f"{shard_path(self.root, number)} is missing in the pack")
        self._open()

    def _open(self) -> None:
        self._index = np.load(self.root / INDEX, mmap_mode="r")
        self._keys = self._index["key"]
        self._shard = functools.lru_cache(maxsize=None)(self._map)

    def __getstate__(self) -> dict:
        return {"root": self.root, "decoded": self.decoded}

    def __setstate__(self, state: dict) -> None:
        self.root, self.decoded = state["root"], state["decoded"]
        self._open()

    def __len__(self) -> int:
        return len(self._index)

    def find(self, name: str) -> memoryview | None:
        """Bytes of the file ``<video>/<frame>.<track>.<kind>.<suffix>``, None if there is none."""
        key = name_key(name)
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        row = self._index[place]
        start = int(row["start"])
        return self._shard(int(row["shard"]))[start : start + int(row["size"])]

    def _map(self, number: int) -> memoryview:
        with open(shard_path(self.root, number), "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def is_pack(root: Path) -> bool:
    """Whether a folder is a pack."""
    return (Path(root) / STAMP).is_file()


def name_key(name: str) -> np.uint64:
    """Hash of the name of a file in a pack; a leading "./" does not count."""
    text = os.path.normpath(name).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def shard_path(root: Path, number: int) -> Path:
    """Where an archive of a pack is."""
    return root / f"crops-{number:05d}.tar"


def as_npy(image: NDArray) -> bytes:
    """Write an array as the content of a ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(image))
    return file.getvalue()


@functools.lru_cache(maxsize=16)
def _npy_layout(head: bytes) -> tuple[int, tuple[int, ...]]:
    """Length of the header of a ``.npy`` file of bytes, and the array's shape."""
    file = io.BytesIO(head)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype != np.uint8:
        raise ValueError(f"a pack's array is of {dtype}, expected uint8")
    return file.tell(), shape


def from_npy(content: memoryview) -> NDArray:
    """Look at the array (uint8) in the content of a ``.npy`` file, without a copy."""
    start, shape = _npy_layout(bytes(content[:128]))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def pack_crops(
    source: Path,
    target: Path,
    shard_bytes: int = SHARD_BYTES,
    decode: Callable[[bytes, str], NDArray] | None = None,
) -> int:
    """Pack a folder of crops; archives that are complete already are kept.

    Args:
        source: Folder of crops.
        target: Folder of the pack.
        shard_bytes: Size at which an archive is closed.
        decode: From the content and path of a search crop to its pixels (H, W, 3) uint8, which
            are packed instead; None packs files as they are.

    Returns:
        Number of crops.

    Raises:
        FileNotFoundError: If there is no crop in ``source``.
        OSError: If a file cannot be read or written.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / STAMP).unlink(missing_ok=True)
    rows: list[NDArray] = []
    with tqdm(unit=" crops", desc=f"pack {target}", dynamic_ncols=True) as bar:
        limit = shard_bytes // _GROWTH if decode else shard_bytes
        for number, files in enumerate(_shards(source, limit)):
            path = shard_path(target, number)
            if not _holds(path, files, decode is not None):
                _write_shard(path, source, files, decode)
            rows.append(_index_shard(path, number))
            bar.update(len(files))
    if not rows:
        raise FileNotFoundError(f"no crops found in {source}")
    index = np.sort(np.concatenate(rows), order="key")
    if (index["key"][1:] == index["key"][:-1]).any():
        raise ValueError(f"{source}: two crops have the same hash; rename a video")
    with atomic_write(target / INDEX, "wb") as file:
        np.save(file, index)
    stamp = {"format": _FORMAT, "shards": len(rows), "decoded": decode is not None}
    write_bytes(target / STAMP, json.dumps(stamp).encode())
    _remove_from(target, len(rows))
    return len(index)


def _shards(source: Path, shard_bytes: int) -> Iterator[list[_File]]:
    """Names, sizes and times of the files of each archive, in order."""
    files, size = [], 0
    for name, length, changed in _files(source, ""):
        files.append((name, length, changed))
        size += length
        if size >= shard_bytes:
            yield files
            files, size = [], 0
    if files:
        yield files


def _files(folder: Path, prefix: str) -> Iterator[_File]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.name[0] != "." and entry.name.endswith((".jpg", ".png")):
            status = entry.stat()
            yield prefix + entry.name, status.st_size, int(status.st_mtime)


def _holds(path: Path, files: Iterable[_File], decoded: bool) -> bool:
    """Whether an archive is there and has these files, newest contents included."""
    if not path.is_file():
        return False
    wanted = [(_packed_name(name, decoded), size, changed) for name, size, changed in files]
    try:
        with tarfile.open(path, "r:") as archive:
            found = [(m.name, m.size, int(m.mtime)) for m in archive]
    except tarfile.TarError:
        return False
    return len(found) == len(wanted) and all(
        have[0] == want[0] and have[2] == want[2] and (have[1] == want[1] or have[0][-4:] == ".npy")
        for have, want in zip(found, wanted, strict=True)
    )


def _packed_name(name: str, decoded: bool) -> str:
    return f"{name[:-4]}.npy" if decoded and name.endswith(".x.jpg") else name


def _write_shard(
    path: Path,
    source: Path,
    files: Iterable[_File],
    decode: Callable[[bytes, str], NDArray] | None,
) -> None:
    with (
        atomic_path(path) as temporary,
        tarfile.open(temporary, "w:", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, _, changed in files:
            content = (source / name).read_bytes()
            packed = _packed_name(name, decode is not None)
            if packed != name:
                content = as_npy(decode(content, str(source / name)))
            member = tarfile.TarInfo(packed)
            member.size, member.mtime = len(content), changed
            archive.addfile(member, io.BytesIO(content))


def _index_shard(path: Path, number: int) -> NDArray:
    with tarfile.open(path, "r:") as archive:
        rows = [(name_key(m.name), number, m.size, m.offset_data) for m in archive]
    return np.array(rows, dtype=_ROW)


def _remove_from(root: Path, first: int) -> None:
    """Remove archives of an earlier, larger pack."""
    number = first
    while shard_path(root, number).is_file():
        shard_path(root, number).unlink()
        number += 1
