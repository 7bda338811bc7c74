import os
from pathlib import Path

import numpy as np
import pytest
from box_files import read_boxes, write_boxes
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.io.boxes import as_regions
from toolkit.io.images import read_labels
from toolkit.results.formats import LAYOUTS, read_times
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory

SAMPLE = Path(__file__).parents[1] / "golden" / "toolkit" / "sample" / "results" / "OTB100"
NAN = float("nan")


def test_numbers_are_written_as_python_has_them(tmp_path):
    path = LAYOUTS["flat"].files(tmp_path / "tracker", "video").regions
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


# ---------------------------------------------------------------------------------- other layouts


def run(regions, *codes):
    """What a tracker did: regions, and codes where these are empty."""
    made, left = Trajectory(), iter(codes)
    for index, region in enumerate(regions):
        code = Code.REGION if region else next(left)
        score = 0.25 if index else NAN
        made.append(region, code, seconds=0.001 if index else 0.5, score=score)
        made.masks.append(np.full((2, 3), index, np.uint8))
        made.frame_names.append(str(index))
    return made


def written(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def written_bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def written_names(folder):
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_what_it_writes(tmp_path, layout):
    made = run([[1.5, 2.0, 30.25, 40.0], [2.0, 3.5, 30.25, 40.5], [0.5, NAN, 3.0, 4.0]])
    store, again = (ResultStore(tmp_path / name, layout) for name in ("a", "b"))
    store.write("v", made)
    (files,) = store.find("v")
    found = store.read(files)
    assert len(found) == len(made)
    for frame in np.flatnonzero(np.array(found.codes) == Code.REGION):
        if found.masks:
            np.testing.assert_array_equal(found.masks[frame], made.masks[frame])
        else:
            np.testing.assert_array_equal(found.regions[frame], made.regions[frame])
    if files.scores:
        np.testing.assert_array_equal(found.scores, made.scores)
    if files.times:
        found.seconds = read_times(files.times)[:, 0].tolist()
        assert found.seconds == made.seconds
    assert found.warnings == (() if found.masks else ("nan",))
    again.write("v", found)
    assert written_bytes(again.folder) == written_bytes(store.folder) != {}


def test_codes_and_polygons_survive_a_file(tmp_path):
    polygon = [1.0, 2.0, 9.0, 2.0, 9.0, 8.0, 1.0, 8.0]
    made = run([[], polygon, [], [], []], Code.STARTED, Code.LOST, Code.SKIPPED, Code.SKIPPED)
    store = ResultStore(tmp_path, "vot")
    store.write("v", made)
    found = store.read(store.files("v"))
    assert found.codes.tolist() == made.codes and found.lost == made.lost == 1
    np.testing.assert_array_equal(found.regions, as_regions(made.regions))


def test_reset_files_hold_codes_and_32_bit_floats(tmp_path):
    regions = [[], [1, 1.00005, 16777217, 1e-9], [], [], [0.5] * 8, [-0.0, NAN, 3, 4]]
    store = ResultStore(tmp_path, "vot")
    store.write("v", run(regions, Code.STARTED, Code.LOST, Code.SKIPPED), 2)
    lines = [
        "1",
        "1.0000,1.0000,16777216.0000,0.0000",  # 1.00005 would be 1.0001 in 64 bits
        "2",
        "0",
        ",".join(["0.5000"] * 8),
        "-0.0000,nan,3.0000,4.0000",
    ]
    assert written(tmp_path) == {"baseline/v/v_002.txt": "\n".join([*lines, ""])}
    assert store.count_lost("v", 2) == 1


def test_long_term_files(tmp_path):
    ResultStore(tmp_path, "longterm").write("v", run([[1.5, 2, 3, 4], [5, 6.25, 7, 10]]))
    assert written(tmp_path) == {
        "longterm/v/v_001.txt": "1\n5,6.25,7,10\n",
        "longterm/v/v_001_confidence.value": "\n0.250000\n",
        "longterm/v/v_time.txt": "0.500000\n0.001000\n",
    }


def test_got10k_files_have_a_column_of_times_per_run(tmp_path):
    store = ResultStore(tmp_path, "got10k")
    for repetition in (1, 2):
        assert not store.is_finished("v", 2, repetition)
        store.write("v", run([[1.5, 2, 3, repetition], [5, 6, 7, 8]]), repetition)
        assert store.is_finished("v", 2, repetition)
    assert written(tmp_path) == {
        "v/v_001.txt": "1.5,2,3,1\n5,6,7,8\n",
        "v/v_002.txt": "1.5,2,3,2\n5,6,7,8\n",
        "v/v_time.txt": "0.500000,0.500000\n0.001000,0.001000\n",
    }
    store.write("v", run([[1, 2, 3, 4], [5, 6, 7, 8]]))
    assert not store.is_finished("v", 2, 2)  # its times are gone


def test_masks_replace_older_ones_whole_or_not_at_all(tmp_path):
    store = ResultStore(tmp_path, "masks")
    labels = [np.zeros((2, 3), np.uint8), np.ones((2, 3), np.uint8)]
    store.write("v", Trajectory(masks=labels, frame_names=["1", "2"]))
    assert store.is_finished("v", 2) and not store.is_finished("v", 3)
    with pytest.raises(ValueError):
        store.write("v", Trajectory(masks=labels, frame_names=["1", "2", "3"]))
    assert sorted(written_names(tmp_path)) == ["v/1.png", "v/2.png"]
    store.write("v", Trajectory(masks=labels[1:], frame_names=["7"]))
    assert written_names(tmp_path) == ["v/7.png"]
    assert read_labels(tmp_path / "v" / "7.png").tolist() == labels[1].tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_are_finished_when_all_is_there(tmp_path, layout):
    store = ResultStore(tmp_path, layout)
    assert not store.is_finished("v", 1)
    made = run([[1, 2, 3, 4]])
    store.write("v", made)
    assert store.is_finished("v", 1)
    assert not store.is_finished("v", 2)
    store.discard("v")
    assert not store.is_finished("v", 1)
    store.write("v", made)
    store.remove("v")
    assert written_names(tmp_path) == []
    store.remove("v")  # nothing to do


def test_all_repetitions_are_removed(tmp_path):
    store = ResultStore(tmp_path, "vot")
    for repetition in (1, 2, 3):
        store.write("v", run([[]], Code.STARTED), repetition)
    store.write("w", run([[]], Code.STARTED))
    store.remove("v")
    assert written_names(tmp_path) == ["baseline/w/w_001.txt"]
