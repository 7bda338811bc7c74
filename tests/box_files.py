"""Files of boxes, as the layout ``flat`` writes and reads them."""

from pathlib import Path

from toolkit.results.formats import LAYOUTS, ResultFiles
from toolkit.results.trajectory import Trajectory


def write_boxes(path, boxes):
    trajectory = Trajectory()
    for box in boxes:
        trajectory.append(box)
    LAYOUTS["flat"].write(ResultFiles(Path(path)), trajectory)


def read_boxes(path):
    return LAYOUTS["flat"].read(ResultFiles(Path(path))).boxes
