"""Write ``val2017.json`` and ``train2017.json`` from COCO's annotations in the current folder."""

from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import finish
from pysot.datasets.prepare import annotate, frames_of
from toolkit.datasets.formats import coco
from toolkit.datasets.reading import Reading
from toolkit.io.issues import IssueLog


def main() -> None:
    """Write both files, and the categories of the objects beside them."""
    reading = Reading(Path(), IssueLog(), training=True)
    for name in ("val2017", "train2017"):
        frames = frames_of(coco.read(reading, name, masks=False), reading.log)
        annotate(frames).write(Path(f"{name}.json"))
        print(f"{name}.json written")
    finish(reading.log, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
