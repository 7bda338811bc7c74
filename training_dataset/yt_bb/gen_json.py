"""Write ``val.json`` and ``train.json`` of YouTube-BB: of the crops in ``crop511/``."""

from dataclasses import replace
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.crop import crop_name
from pysot.datasets.prepare.cli import finish, write_notes
from pysot.datasets.prepare.cropper import annotate
from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.youtube_bb import read_youtube_bb

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
    """Write both files, and the kinds of the objects beside them."""
    problems = Problems()
    for name, subset in SUBSETS.items():
        frames = (with_crops(frame) for frame in read_youtube_bb(Path(), subset, problems))
        write_notes(Path(f"{name}.json"), annotate(frame for frame in frames if frame.boxes))
        print(f"{name}.json written")
    finish(problems, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
