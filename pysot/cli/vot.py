r"""Serve a tracker to the VOT toolkit, or another client, by the TraX protocol.

The first form is what the client starts: it speaks TraX on standard input and output (or the
socket that TRAX_SOCKET names), and all that is printed goes to standard error. It takes images as
paths, in memory or encoded, and rectangles, polygons and masks to start on, of several objects at
once; it answers with the same kind of region if the tracker has it. It needs the package vot-trax.
``init`` writes that command into DIR/trackers.ini, where the VOT toolkit finds it. ``KEY VALUE``
pairs override the configuration.

Examples:
    pysot vot --config CONFIG.yaml --snapshot model.pth TRACK.LR 0.35
    pysot vot init --workspace DIR --name NAME --config CONFIG.yaml --snapshot model.pth
"""

from __future__ import annotations

import argparse
import configparser
import math
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.cli import Parser, find_tracker, message_of
from pysot.core import RunFailed
from pysot.tracker.api import MultiTracker, TrackResult
from pysot.tracker.foreign import ForeignSpec
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.utils.bbox import initial_rect
from toolkit.io.boxes import box_around, vot_corners
from toolkit.io.files import atomic_write
from toolkit.io.images import mask_box, read_image
from toolkit.io.packages import load_package
from toolkit.protocols.one_pass import ProtocolOptions

_IMAGES = ("path", "memory", "buffer")
_REGIONS = ("rectangle", "polygon", "mask")
_NAME = re.compile("[a-zA-Z0-9_-]+")  # what the VOT toolkit takes for a name
_PATIENCE = 120  # seconds that the client waits for an answer; by default it waits for 30


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    init = argv[:1] == ["init"]
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    add("--tracker", metavar="MODULE:FACTORY", help="any tracker instead, as for `pysot test`")
    if init:
        add(
            "--workspace",
            type=Path,
            default=Path(),
            metavar="DIR",
            help="of the toolkit (default: .)",
        )
        add("--name", required=True, help="what the VOT toolkit calls the tracker")
        add("--overwrite", action="store_true", help="replace a tracker of that name")
    parser.add_overrides()
    args = parser.parse_intermixed_args(argv[init:])
    args.init = init
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the tracker until the client ends, or enter it into a workspace."""
    args = parse_args(argv)
    trax = load_package("trax", "vot-trax", "the command vot needs")
    if args.init:
        path = _write_entry(args, _command(args))
        print(f"{path}: wrote {args.name}; next: vot test {args.name}, vot evaluate {args.name}")
        return
    with _own_stdout() as speaking:
        _serve(trax, args, speaking)


# --------------------------------------------------------------------------------- the conversation


@contextmanager
def _own_stdout() -> Iterator[Callable[[], Any]]:
    """Send what is printed, also by compiled code, to standard error.

    Yields:
        A context in which descriptor 1 is standard output again, for messages.
    """

    @contextmanager
    def speaking() -> Iterator[None]:
        sys.stdout.flush()
        # the VOT toolkit reads both outputs as one, and no message where a line has begun
        os.write(stdout, b"\n")
        os.dup2(stdout, 1)
        try:
            yield
        finally:
            os.dup2(2, 1)

    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield speaking
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def _serve(trax: ModuleType, args: argparse.Namespace, speaking: Callable[[], Any]) -> None:
    """Answer requests; a failure, also that to build a tracker, is sent to the client."""
    session, failure = None, None
    try:
        session = Session(trax, _read_spec(args))
    except Exception as error:  # which the client gets once it asks
        failure = error
    try:
        with speaking():
            given = (args.tracker or "").rpartition(":")[2] or args.model
            name = given or (args.snapshot or Path("pysot")).name.split(".")[0]
            server = trax.Server(
                list(_REGIONS), list(_IMAGES), tracker_name=name, tracker_family="pysot",
                multiobject=True,
            )  # fmt: skip
        while True:
            request = server.wait()
            if request.type == trax.TraxStatus.QUIT:
                return
            try:
                answer = _answer(session, failure, request)
            except Exception as error:  # a plug-in may raise anything
                with speaking():
                    server.quit(message_of(error))
                if isinstance(error, (RuntimeError, cv2.error)):
                    raise RunFailed(message_of(error)) from error
                raise
            with speaking():
                server.status(answer)
    except trax.TraxException as error:
        reason = message_of(error)
        raise RunFailed(f"the client broke off, or does not speak TraX: {reason}") from error


def _read_spec(args: argparse.Namespace) -> TrackerSpec | ForeignSpec:
    if not args.tracker:
        return TrackerSpec.read(*find_tracker(args), args.opts)
    if args.config or args.snapshot or args.model or args.opts:
        raise ValueError("--tracker takes no --config, --snapshot, --model or overrides")
    return ForeignSpec.read(args.tracker)


def _answer(session: Session | None, failure: Exception | None, request: Any) -> list:
    if session is None:
        raise failure
    if request.type == "initialize":
        session.start()
    return session.step(request.image, request.objects or [])


class Session:
    """The objects that a client of the package ``trax`` has named, and where they are."""

    def __init__(self, trax: ModuleType, spec: TrackerSpec | ForeignSpec) -> None:
        cfg = getattr(spec, "cfg", None)
        self.threshold = cfg.TRACK.MASK_THERSHOLD if cfg else ProtocolOptions.mask_threshold
        self.trax, self._build = trax, spec
        self._new()  # so that a tracker that cannot be built is known before the first request
        self.start()

    def _new(self) -> Any:
        tracker = self._build()
        if hasattr(tracker, "inside_only"):
            tracker.inside_only = False  # VOT starts where the annotation is
        return tracker

    def start(self) -> None:
        """Forget all objects."""
        self.targets, self._kinds = MultiTracker(self._new), []
        self._first: str | None = None  # image

    def step(self, images: Mapping[str, Any], new: Sequence[tuple[Any, Any]]) -> list:
        """Find the objects in the ``color`` image, and start on new ones.

        Returns:
            A region with its properties for each object in order of its start, new ones as given.
        """
        if "color" not in images:
            raise ValueError("the request has no color image")
        frame = self._read(images["color"])
        found = self.targets.track(frame) if self._kinds else {}
        answer = [
            (
                self._region(result, kind),
                {} if math.isnan(result.score) else {"confidence": result.score},
            )
            for result, kind in zip(found.values(), self._kinds, strict=True)
        ]
        for region, _ in new:
            self.targets.add(frame, first_box(region))
            self._kinds.append(region.type)
            answer.append((region, {}))
        return answer

    def _read(self, image: Any) -> NDArray:
        """Return an image of the package as BGR uint8 (H, W, 3)."""
        kind = image.type()
        if kind == "path":
            self._first = self._first or image.path()
            return read_image(image.path(), first=self._first)
        if kind == "memory":
            pixels = image.array()[..., ::-1]  # RGB or gray
        else:
            encoded = np.frombuffer(image.buffer(), np.uint8)
            pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if pixels is None:
            raise ValueError("cannot decode the image that the client sent")
        if pixels.dtype != np.uint8:  # the range of its values is not known
            raise ValueError("an image must have 8 bits, found 16; send the path of its file")
        return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")

    def _region(self, result: TrackResult, kind: str) -> Any:
        """Return a region of a kind, or where the tracker has none of the next simpler one."""
        if kind == "mask" and result.mask is not None:
            return self._mask(result.mask > self.threshold)
        if kind != "rectangle" and result.polygon is not None:
            points = result.polygon
            pairs = list(zip(points[::2], points[1::2], strict=True))
            return self.trax.Polygon.create(pairs)
        return self.trax.Rectangle.create(*result.bbox)

    def _mask(self, inside: NDArray) -> Any:
        x, y, w, h = mask_box(inside) if inside.any() else (0, 0, 1, 1)
        part = np.ascontiguousarray(inside[y : y + h, x : x + w], np.uint8)  # which it copies
        return self.trax.Mask.create(part, x, y)


def first_box(region: Any) -> list[float]:
    """Return the box x, y, w, h that a tracker starts on, as in `toolkit.protocols`.

    A polygon of four corners gives the upright box of equal area (`pysot.utils.bbox.initial_rect`),
    another polygon and a mask give the smallest box around them.
    """
    if region.type == "rectangle":
        return list(region.bounds())
    if region.type == "polygon":
        points = [number for point in region for number in point]
        if len(points) != 8:
            x, y, w, h = box_around(points)
            points = vot_corners((x, y, w + 1, h + 1))
        return initial_rect(points)
    if region.type == "mask":
        return mask_box(region.array(normalize=True))
    raise ValueError(f"cannot start on a region of the kind {region.type!r}; known: {_REGIONS}")


# ------------------------------------------------------------------------------------ trackers.ini


def _command(args: argparse.Namespace) -> list[str]:
    """Return the first form of the command, from any folder, once its files are seen to work."""
    spec, command = _read_spec(args), [sys.executable, "-m", "pysot", "vot"]
    if isinstance(spec, ForeignSpec):
        command += ["--tracker", f"{spec.place}:{spec.name}"]
    else:
        for option, path in zip(("config", "snapshot"), find_tracker(args), strict=True):
            command += [f"--{option}", os.path.abspath(path)] if path else []
    for name in args.plugin:
        command += ["--plugin", name]
    return [*command, *args.opts]


def _write_entry(args: argparse.Namespace, command: list[str]) -> Path:
    """Enter the command into the workspace's file, where all else stays as it is."""
    path = args.workspace / "trackers.ini"
    if not _NAME.fullmatch(args.name) or args.name == configparser.DEFAULTSECT:
        raise ValueError(f"--name {args.name}: expected letters, digits, - and _, not DEFAULT")
    if not args.workspace.is_dir():
        raise FileNotFoundError(f"--workspace: there is no folder {args.workspace}")
    known = configparser.ConfigParser(interpolation=None)
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        known.read_string(text)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no list of trackers: {message_of(error)}") from error
    if args.name in known and not args.overwrite:
        raise ValueError(
            f"{path} has a tracker {args.name!r} already; choose another --name, or --overwrite"
        )
    others = re.sub(rf"(?ms)^\[{args.name}\].*?(?=^\[|\Z)", _comments, text).rstrip()
    with atomic_write(path) as file:
        file.write(f"{others}\n\n" if others else "")
        file.write(_entry(args, command))
    return path


def _comments(entry: re.Match[str]) -> str:
    return "".join(line for line in entry[0].splitlines(True) if line.startswith(("#", ";")))


def _entry(args: argparse.Namespace, command: list[str]) -> str:
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    values = {"protocol": "trax", "command": join(command), "timeout": _PATIENCE}
    places = [*args.plugin, (args.tracker or ".py:").rpartition(":")[0]]
    modules = any(not place.endswith(".py") for place in places)
    values |= {f"env_{key}": value for key, value in _environment(modules).items()}
    lines = (f"{key} = {value}\n".replace("%", "%%") for key, value in values.items())
    return "".join([f"[{args.name}]\n", *lines])


def _environment(modules: bool) -> dict[str, str]:
    """Return the variables without which the client's process would not run the same program.

    Where ``modules`` are named, they may lie in the present folder.
    """
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    here = [os.getcwd()] if modules else []
    paths = [str(Path(__file__).resolve().parents[2]), *here, *map(os.path.abspath, given)]
    installed = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
    paths = [path for path in dict.fromkeys(paths) if path not in installed]
    # the client empties this one unless it is named; what OpenCV adds to it does not exist
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    found = {"PYTHONPATH": paths, "LD_LIBRARY_PATH": [*filter(os.path.isdir, libraries)]}
    return {key: os.pathsep.join(value) for key, value in found.items() if value}
