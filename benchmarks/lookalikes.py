r"""Look-alikes and targets out of view: how often trackers lose the target and find it again.

Usage:
    python benchmarks/lookalikes.py
    python benchmarks/lookalikes.py --data DAVIS --videos parkour,soapbox --clips 8
    python benchmarks/lookalikes.py --model dasiamrpn_lite0 --snapshot checkpoint_e20.pth \
        TRACK.LOST_STEP 32

Every clip has 120 frames of 640 x 360. In ``look-alikes`` three others of the target's kind cross
its way, in ``out-of-view`` it leaves the picture for some 30 frames, and ``both`` has both. With
--data, a folder as DAVIS has it, objects are cut out of its videos and move over other videos of
it; look-alikes are the same object at other times, mirrored, of another size, hue and brightness.
Without it the clips are drawn. Equal seeds give equal clips.

Lost: ten frames in a row where the target is in view and the overlap is under 0.1. Found again: an
overlap of 0.5 after that. Returns: times that a target comes back into view; found: with an overlap
of 0.5 within 30 frames.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo.synthetic.scenes import build_stage, effects_of, wander  # noqa: E402 - not installed
from pysot.cli import Parser, positive, run  # noqa: E402
from pysot.core.config import find_config  # noqa: E402
from pysot.tracker.tracker_builder import build_tracker, load_network  # noqa: E402
from pysot.zoo import find_model, weights_of  # noqa: E402
from toolkit.io.images import list_images, mask_box, read_image, read_labels  # noqa: E402
from toolkit.io.video_writer import VideoSink  # noqa: E402
from toolkit.utils.statistics import overlap_ratio, success_curve  # noqa: E402
from toolkit.visualization.overlay import draw_box  # noqa: E402

SIZE, FRAMES = (640, 360), 120
KINDS = {"look-alikes": (3, False), "out-of-view": (0, True), "both": (3, True)}
ATTRIBUTES = ("Background Clutters", "Out-of-View")  # of drawn clips
LOST_FRAMES, LOST, FOUND = 10, 0.1, 0.5
PATIENCE = 30  # frames after a return
COLUMNS = ("AUC", "lost", "found again", "returns", "found", "ms a frame")


class Clip(NamedTuple):
    """Frames and the target's boxes x, y, w, h, NaN while less than a tenth is in view."""

    frames: list[NDArray]
    boxes: NDArray


class Cut(NamedTuple):
    """An object without its surroundings."""

    image: NDArray  # (h, w, 3) uint8, BGR
    alpha: NDArray  # (h, w) float32, 0 to 1


def main(argv: Sequence[str] | None = None) -> None:
    """Track all clips and print a table per kind."""
    args = parse_args(argv)
    trackers = {name: build(name, args) for name in args.model}
    for kind in args.kind:
        rows = {name: [] for name in trackers}
        for number, clip in enumerate(make_clips(args, kind)):
            for name, tracker in trackers.items():
                found, pace = follow(tracker, clip)
                rows[name].append((*judged(clip.boxes, found), pace))
                if args.output:
                    write_video(args.output / f"{kind}_{number}_{name}.mp4", clip, found)
        print(f"\n{kind}, {args.clips} clips of {FRAMES} frames")
        print("".join(f"{text:>16}" for text in ("", *COLUMNS)))
        for name, results in rows.items():
            auc, *counts, pace = np.array(results).T
            cells = (f"{auc.mean():.3f}", *(f"{n.sum():.0f}" for n in counts), f"{pace.mean():.1f}")
            print("".join(f"{text:>16}" for text in (name, *cells)), flush=True)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="JPEGImages/480p and Annotations/480p (DAVIS)")
    add("--videos", type=_names, metavar="A,B", help="of the data (default: all)")
    add("--clips", type=positive, default=8, metavar="N", help="per kind (default: 8)")
    add("--kind", type=_names, default=list(KINDS), help=f"default: {','.join(KINDS)}")
    add("--model", type=_names, metavar="A,B", default=["siamrpn_lite0", "dasiamrpn_lite0"])
    add("--snapshot", type=Path, help="weights for all of them, in place of their own")
    add("--seed", type=int, default=1)
    parser.add_output(text="folder for a video of each clip and tracker")
    parser.add_overrides()
    args = parser.parse_intermixed_args(argv)
    if unknown := sorted(set(args.kind) - set(KINDS)):
        parser.error(f"--kind {unknown[0]}: expected {', '.join(KINDS)}")
    return args


def _names(text: str) -> list[str]:
    return text.split(",")


def build(name: str, args: argparse.Namespace) -> Any:
    """Build a model's tracker, with other weights where they are given."""
    if args.snapshot:
        source = find_config(name), args.snapshot
    else:
        model = find_model(name)
        source = model.config_path, weights_of(model)
    return build_tracker(*load_network(*source, opts=args.opts, threads=1))


def make_clips(args: argparse.Namespace, kind: str) -> Iterator[Clip]:
    """Make the clips of a kind, each from its own seed."""
    others, leaves = KINDS[kind]
    names = args.videos or (args.data and sorted(p.name for p in folder(args.data).iterdir()))
    for number in range(args.clips):
        rng = np.random.default_rng([args.seed, list(KINDS).index(kind), number])
        if not args.data:
            yield draw(rng, [ATTRIBUTES[0]] * bool(others) + [ATTRIBUTES[1]] * leaves)
            continue
        target = names[number % len(names)]
        background = names[int(rng.integers(len(names)))]
        while background == target and len(names) > 1:
            background = names[int(rng.integers(len(names)))]
        yield compose(rng, read_cuts(args.data, target), args.data, background, others, leaves)


def draw(rng: np.random.Generator, attributes: Sequence[str]) -> Clip:
    """Draw a clip with the built-in figures."""
    stage = build_stage(rng, effects_of(attributes), SIZE, FRAMES)
    shots = [stage.shoot(number) for number in range(FRAMES)]
    return Clip([shot.image for shot in shots], np.stack([shot.boxes[0] for shot in shots]))


def folder(data: Path, kind: str = "JPEGImages") -> Path:
    """Return the folder of all videos' images, or of their masks."""
    return data / kind / "480p"


@cache
def read_cuts(data: Path, name: str) -> list[Cut]:
    """Cut the object of a video out of its frames."""
    cuts = []
    masks = list_images(folder(data, "Annotations") / name)
    for image, mask in zip(list_images(folder(data) / name), masks, strict=True):
        labels = (read_labels(mask) > 0).astype(np.uint8)
        if labels.sum() > 400:
            x, y, w, h = mask_box(labels)
            alpha = cv2.GaussianBlur(labels.astype(np.float32), (0, 0), 0.8)
            inside = np.s_[y : y + h, x : x + w]
            cuts.append(Cut(read_image(image)[inside], alpha[inside]))
    return cuts


def compose(
    rng: np.random.Generator,
    cuts: list[Cut],
    data: Path,
    background: str,
    others: int,
    leaves: bool,
) -> Clip:
    """Let an object, and others like it, move over a video."""
    length = rng.uniform(60, 100)  # sqrt(w * h) in pixels
    actors = [Actor(rng, cuts, length, leaves, alike=False)]
    actors += [Actor(rng, cuts, length, False, alike=True) for _ in range(others)]
    order = rng.permutation(len(actors))  # from the farthest to the nearest
    paths = list_images(folder(data) / background)
    frames, boxes = [], []
    for number in range(FRAMES):
        image = cv2.resize(read_image(paths[to_and_fro(number, len(paths))]), SIZE)
        drawn = {int(i): actors[i].draw_on(image, number) for i in order}
        frames.append(cv2.GaussianBlur(image, (0, 0), 0.5))
        boxes.append(drawn[0])
    return Clip(frames, np.array(boxes))


class Actor:
    """A moving cut-out; one that is ``alike`` differs from the target in looks and time."""

    def __init__(
        self, rng: np.random.Generator, cuts: list[Cut], length: float, leaves: bool, alike: bool
    ) -> None:
        first = cuts[0].alpha.shape
        self.cuts, self.start = cuts, int(rng.integers(len(cuts)))
        self.scale = length / np.sqrt(first[0] * first[1])
        self.mirrored, self.hue, self.gain = bool(rng.random() < 0.5), 0, 1.0
        if alike:
            self.scale *= np.exp(rng.uniform(-0.2, 0.2))
            self.hue = int(rng.choice([-1, 1]) * rng.uniform(8, 20))  # of 180
            self.gain = np.exp(rng.uniform(-0.2, 0.2))
        self.path = wander(rng, SIZE, FRAMES, rng.uniform(2, 5), 0.6 * length, leaves)

    def draw_on(self, image: NDArray, number: int) -> list[float]:
        """Draw it on a frame; return x, y, w, h inside of it, NaN where too little is."""
        cut = self.cuts[to_and_fro(self.start + number, len(self.cuts))]
        size = [max(8, round(side * self.scale)) for side in cut.alpha.shape[::-1]]
        pixels, alpha = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in cut)
        if self.mirrored:
            pixels, alpha = pixels[:, ::-1], alpha[:, ::-1]
        if self.hue:
            hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2HSV)
            hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + self.hue) % 180
            pixels = cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), alpha=self.gain)
        left, top = (round(c - s / 2) for c, s in zip(self.path(number), size, strict=True))
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + size[0], SIZE[0]), min(top + size[1], SIZE[1])
        if (x2 - x1) * (y2 - y1) < 0.1 * size[0] * size[1] or x2 <= x1 or y2 <= y1:
            return [np.nan] * 4
        part = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
        weight, window = alpha[part][:, :, None], image[y1:y2, x1:x2]
        window[:] = (weight * pixels[part] + (1 - weight) * window).round()
        return [x1, y1, x2 - x1, y2 - y1]


def to_and_fro(number: int, count: int) -> int:
    """Return the index of a frame where a video of ``count`` runs forth and back for ever."""
    turn = number % max(2 * count - 2, 1)
    return min(turn, 2 * count - 2 - turn) if turn else 0


def follow(tracker: Any, clip: Clip) -> tuple[NDArray, float]:
    """Track a clip; return boxes (N, 4) and milliseconds per frame."""
    tracker.init(clip.frames[0], clip.boxes[0])
    begin, boxes = time.perf_counter(), [clip.boxes[0]]
    boxes += [tracker.track(frame)["bbox"] for frame in clip.frames[1:]]
    return np.array(boxes), 1000 * (time.perf_counter() - begin) / (len(boxes) - 1)


def judged(truth: NDArray, found: NDArray) -> tuple[float, int, int, int, int]:
    """Return AUC of the frames in view, times lost, found again, returns, and returns found."""
    seen = np.isfinite(truth).all(axis=1)
    overlaps = np.where(seen, overlap_ratio(truth, found), np.nan)
    auc = success_curve(truth[seen], found[seen], int(seen.sum())).mean()
    lost, again, streak, away = 0, 0, 0, False
    for overlap in overlaps[seen]:
        streak = streak + 1 if overlap < LOST else 0
        if streak == LOST_FRAMES and not away:
            lost, away = lost + 1, True
        if away and overlap >= FOUND:
            again, away = again + 1, False
    back = np.flatnonzero(seen[1:] & ~seen[:-1]) + 1
    after = [overlaps[first : first + PATIENCE] for first in back]
    return auc, lost, again, len(back), sum(bool((part >= FOUND).any()) for part in after)


def write_video(path: Path, clip: Clip, found: NDArray) -> None:
    """Write a clip with the tracker's boxes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoSink(path, 25) as sink:
        for number, (frame, box) in enumerate(zip(clip.frames, found, strict=True)):
            sink.write(draw_box(frame.copy(), box.tolist()), number / 25)


if __name__ == "__main__":
    run(main)
