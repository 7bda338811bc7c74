"""Write ``train.json`` and ``val.json`` of ImageNet VID from ``vid.json``."""

import json
from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import finish
from pysot.datasets.prepare import annotate, frames_of
from toolkit.datasets.formats.voc import keep_runs, vid_sequence
from toolkit.io.issues import IssueLog


def main() -> None:
    """Keep objects in every run of two frames or more, and split by the names of the videos."""
    parts = json.loads(Path("vid.json").read_text(encoding="utf-8"))
    videos = (keep_runs(vid_sequence(video, Path())) for part in parts for video in part)
    log = IssueLog()
    try:
        annotations = annotate(frames_of(videos, log))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"vid.json: expected what parse_vid.py writes ({error!r})") from error
    for name in ("train", "val"):
        part = annotations.part(lambda video, name=name: name in video)
        part.write(Path(f"{name}.json"))
        print(f"{name}.json: {len(part.boxes)} videos")
    finish(log, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
