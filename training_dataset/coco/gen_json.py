"""Write ``val2017.json`` and ``train2017.json`` from COCO's annotations in the current folder."""

from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import finish, write_notes
from pysot.datasets.prepare.coco import read_coco
from pysot.datasets.prepare.cropper import annotate
from pysot.datasets.prepare.frames import Problems


def main() -> None:
    """Write both files, and the kinds of the objects beside them."""
    problems = Problems()
    for name in ("val2017", "train2017"):
        source = Path("annotations", f"instances_{name}.json")
        frames = read_coco(source, Path(name), name, problems, masks=False)
        write_notes(Path(f"{name}.json"), annotate(frames))
        print(f"{name}.json written")
    finish(problems, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
