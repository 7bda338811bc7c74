import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.results import read_boxes, result_path, write_boxes

SAMPLE = Path(__file__).parents[1] / "golden" / "toolkit" / "sample" / "results" / "OTB100"
NAN = float("nan")


def test_numbers_are_written_as_python_has_them(tmp_path):
    path = result_path("flat", tmp_path / "tracker", "video")
    write_boxes(path, [[300.5, 110.5, 165, 250], [276.78135096130865, np.float64(1), 10, 0.0]])
    assert path == tmp_path / "tracker" / "video.txt"
    assert path.read_bytes() == b"300.5,110.5,165,250\n276.78135096130865,1.0,10,0.0\n"


@pytest.mark.parametrize("sample", sorted(SAMPLE.glob("*/*.txt")), ids=lambda path: path.stem)
def test_recorded_files_are_reproduced_byte_by_byte(tmp_path, sample):
    lines = sample.read_text().splitlines()
    boxes = [[float(n) if "." in n else int(n) for n in line.split(",")] for line in lines]
    write_boxes(tmp_path / "out.txt", boxes)
    assert (tmp_path / "out.txt").read_bytes() == sample.read_bytes()
    assert read_boxes(sample).tolist() == boxes


@given(st.lists(st.lists(st.floats(width=64), min_size=4, max_size=4), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_what_is_written_reads_back_the_same(tmp_path_factory, boxes):
    path = tmp_path_factory.getbasetemp() / "round_trip.txt"
    write_boxes(path, boxes)
    np.testing.assert_array_equal(read_boxes(path), np.array(boxes))


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\n5,6,7,nan\n",
        "1,2,3,4\n5,6,7,NaN",
        "1,2,3,4\r\n5,6,7,nan\r\n\r\n",
        "1\t2\t3\t4\n5\t6\t7\tnan\n\n\n",
        "1 2 3 4 \n 5  6 7 nan\n",
        "1.0, 2e0, 3, 4\n5, 6, 7, nan\n",
    ],
)
def test_separators_and_blank_ends_are_tolerated(tmp_path, text):
    (tmp_path / "video.txt").write_bytes(text.encode())
    np.testing.assert_array_equal(
        read_boxes(tmp_path / "video.txt"), [[1, 2, 3, 4], [5, 6, 7, NAN]]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "video.txt: is empty"),
        ("\n\n", "video.txt: is empty"),
        ("Occ", "line 1: expected 4 numbers x,y,w,h, got 'Occ'"),
        ("1,2,3,4\n1,2,3\n", "line 2: expected 4 numbers"),
        ("1,2,3\n1,2,3,4,5\n", "line 1: expected 4 numbers"),  # 8 numbers on 2 lines, as it were
        ("1,2,3,4,5,6,7,8\n", "line 1: expected 4 numbers"),  # a polygon is no box
        ("1,2,3,4\n\n1,2,3,4\n", "line 2: expected 4 numbers"),
        ("1,2,3,4\n1,2,x,4\n", "line 2: expected 4 numbers"),
        ("1,2,3,4\n1 2 3 4\n", "line 2: expected 4 numbers"),
        ("1,2,3,\n", "line 1: expected 4 numbers"),
        ("\x00\xff,1,2,3\n", "line 1: expected 4 numbers"),
    ],
)
def test_anything_else_is_an_error_naming_the_line(tmp_path, text, message):
    (tmp_path / "video.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError) as error:
        read_boxes(tmp_path / "video.txt")
    assert message in str(error.value)
    assert "video.txt" in str(error.value)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_boxes(tmp_path / "video.txt", [[1, 2, 3, 4], None])
    assert os.listdir(tmp_path) == []
