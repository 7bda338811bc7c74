"""Write ``train.json`` and ``val.json`` of ImageNet VID from ``vid.json``."""

import json
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import split_notes, write_notes
from pysot.datasets.prepare.cropper import annotate
from pysot.datasets.prepare.imagenet import keep_runs, vid_frames


def main() -> None:
    """Keep objects in every run of two frames or more, and split by the names of the videos."""
    parts = json.loads(Path("vid.json").read_text(encoding="utf-8"))
    notes = annotate(keep_runs(vid_frames(parts, Path("ILSVRC2015"))))
    for name in ("train", "val"):
        part = split_notes(notes, lambda video, name=name: name in video)
        write_notes(Path(f"{name}.json"), part)
        print(f"{name}.json: {len(part.boxes)} videos")


if __name__ == "__main__":
    run(main)
