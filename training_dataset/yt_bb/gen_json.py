"""Write ``val.json`` and ``train.json`` of YouTube-BB: of the crops in ``crop511/``."""

from dataclasses import replace
from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import finish
from pysot.datasets.crop import crop_name
from pysot.datasets.prepare import annotate, frames_of
from toolkit.datasets.formats import tracking
from toolkit.datasets.reading import Reading
from toolkit.datasets.video import Frame
from toolkit.io.issues import IssueLog

SUBSETS = {"val": "yt_bb_detection_validation", "train": "yt_bb_detection_train"}


def with_crops(frame: Frame) -> Frame:
    """Leave out objects that have no crop."""
    folder = Path("crop511") / frame.video
    found = {
        track: box
        for track, box in frame.boxes.items()
        if (folder / crop_name(frame.number, track, "x")).is_file()
    }
    return replace(frame, boxes=found)


def main() -> None:
    """Write both files, and the categories of the objects beside them."""
    reading = Reading(Path(), IssueLog(), training=True)
    for name, subset in SUBSETS.items():
        found = frames_of(tracking.read_youtube_bb(reading, subset), reading.log)
        frames = map(with_crops, found)
        annotate(frame for frame in frames if frame.boxes).write(Path(f"{name}.json"))
        print(f"{name}.json written")
    finish(reading.log, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
