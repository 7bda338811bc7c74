import numpy as np
import pytest

from toolkit.io.boxes import as_regions, corners
from toolkit.results.formats import LAYOUTS, ResultFiles, read_times
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory, empty_trajectory
from toolkit.utils.region import overlaps

NAN = float("nan")
REGION, SKIPPED, STARTED, LOST = Code


def read_box_trajectory(path):
    return LAYOUTS["flat"].read(ResultFiles(path))


def read_reset_trajectory(path):
    return LAYOUTS["vot"].read(ResultFiles(path))


def read_long_term_trajectory(path):
    scores = path.with_name(f"{path.stem}_confidence.value")
    return LAYOUTS["longterm"].read(ResultFiles(path, scores))


@pytest.fixture
def file_of(tmp_path):
    """Function that writes a text and returns its path."""

    def write(text, name="v_001.txt"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_repetitions_are_found_in_order(tmp_path):
    (tmp_path / "v").mkdir()
    for name in ("v_010.txt", "v_001.txt", "v_002.txt", "v_time.txt", "w_003.txt", "v_1.txt"):
        (tmp_path / "v" / name).touch()
    store = ResultStore(tmp_path, "got10k")
    assert store.find("v") == [store.files("v", number) for number in (1, 2, 10)]
    (tmp_path / "v" / "v_001.txt").unlink()
    assert len(store.find("v")) == 2
    assert store.find("nowhere") == []


def test_a_flat_result_has_one_file(tmp_path):
    store = ResultStore(tmp_path, "flat")
    assert store.find("v") == []
    (tmp_path / "v.txt").touch()
    assert store.find("v") == [ResultFiles(tmp_path / "v.txt")]


def test_codes_and_boxes(file_of):
    run = read_reset_trajectory(file_of("1\n1,2,3,4\n2\n0\n1.5,2,3,4\n"))
    assert run.codes.tolist() == [1, REGION, 2, 0, REGION]
    assert run.regions[[1, 4]].tolist() == [[1, 2, 3, 4], [1.5, 2, 3, 4]]
    assert np.isnan(run.regions[[0, 2, 3]]).all()
    assert run.warnings == ()


def test_boxes_beside_polygons_become_polygons_of_the_same_pixels(file_of):
    run = read_reset_trajectory(file_of("10,20,30,40\n1,2,9,2,9,8\n1,2,9,2,9,8,1,8\n"))
    assert run.regions.shape == (3, 8)
    assert run.regions[0].tolist() == [10, 20, 40, 20, 40, 60, 10, 60]
    assert run.regions[1].tolist() == [1, 2, 9, 2, 9, 8, 9, 8]  # a triangle
    triangle = overlaps([[1, 2, 9, 2, 9, 8]], [[0, 0, 9, 9]])
    assert overlaps(run.regions[1:2], [[0, 0, 9, 9]]) == triangle
    assert overlaps(run.regions[:1], [[5, 5, 30, 40]]) == overlaps(
        [[10, 20, 30, 40]], [[5, 5, 30, 40]]
    )


def test_a_file_of_codes_only(file_of):
    run = read_reset_trajectory(file_of("1\n2\n0\n0\n0\n0\n"))
    assert (len(run), run.regions.shape, run.warnings) == (6, (6, 4), ())


@pytest.mark.parametrize("line", ["3", "-1", "1.5", "nan", "1,2", "1,2,3", "1,2,3,4,5", "a", ""])
def test_other_lines_are_named(file_of, line):
    path = file_of(f"1\n1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(ValueError) as error:
        read_reset_trajectory(path)
    wanted = f"line 3: expected a code 0, 1 or 2, a box or a polygon, got {line!r}"
    assert str(error.value) == f"{path}: {wanted}"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("1,2,3,4\n", ()),
        ("1, 2,3 ,4\r\n5,6,7,8\r\n", ()),
        ("1 2 3 4\n", ("separators",)),
        ("1\t2\tnan\t4\n", ("nan", "separators")),
        ("nan,nan,nan,nan\n1,2,3,4\n", ("nan",)),
        ("1,2,inf,4\n", ("nan",)),
    ],
)
def test_what_is_unusual_is_noted(file_of, text, warnings):
    assert read_box_trajectory(file_of(text)).warnings == warnings


def test_a_byte_order_mark_is_read_over_and_utf_16_is_named(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("1,2,3,4\n", encoding="utf-8-sig")
    run = read_box_trajectory(path)
    assert (run.boxes.tolist(), run.warnings) == ([[1, 2, 3, 4]], ("mark",))
    path.write_text("1,2,3,4\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"v\.txt: is UTF-16 text; expected plain ASCII or UTF-8"):
        read_box_trajectory(path)


def test_long_term_scores_lie_beside_the_regions(file_of):
    path = file_of("1\n1,2,3,4\n5,6,7,8\n")
    file_of("\n0.5\n0.25\n", "v_001_confidence.value")
    run = read_long_term_trajectory(path)
    assert run.scores == pytest.approx([NAN, 0.5, 0.25], nan_ok=True)
    assert run.codes.tolist() == [1, REGION, REGION]
    file_of("\n0.5\n", "v_001_confidence.value")
    assert len(read_long_term_trajectory(path)) == 2
    file_of("\n", "v_001_confidence.value")
    assert len(read_long_term_trajectory(path)) == 1
    file_of("", "v_001_confidence.value")
    with pytest.raises(ValueError, match=r"v_001_confidence\.value: is empty"):
        read_long_term_trajectory(path)


def test_times_have_a_column_per_repetition(file_of):
    assert read_times(file_of("0.5,0.25\n0.1,0.2\n")).tolist() == [[0.5, 0.25], [0.1, 0.2]]
    with pytest.raises(ValueError, match="line 2: expected seconds, as many as in the first line"):
        read_times(file_of("0.5,0.25\n0.1\n"))


def test_runs_are_cut_or_filled_up(file_of):
    run = read_reset_trajectory(file_of("1\n1,2,3,4\n"))
    assert run.resized(1).codes.tolist() == [1]
    longer = run.resized(5, LOST)
    assert longer.codes.tolist() == [1, REGION, LOST, SKIPPED, SKIPPED]
    assert np.isnan(longer.regions[2:]).all()
    lost = empty_trajectory(scores=True).resized(3)
    assert lost.codes.tolist() == [REGION] * 3
    assert np.isnan(lost.regions).all()
    assert np.isnan(lost.scores).all()


def test_ground_truth_of_several_shapes_becomes_one_array():
    box, polygon = [1, 2, 3, 4], [1, 2, 4, 2, 4, 6, 1, 6]
    assert as_regions([box, box]).tolist() == [box, box]
    assert as_regions([box, polygon]).tolist() == [polygon, polygon]
    assert np.isnan(as_regions([box, [0]])[1]).all()
    assert corners(np.array([box], float)).tolist() == [polygon]


def test_a_protocol_appends_frame_by_frame():
    run = Trajectory()
    run.append(code=Code.STARTED, seconds=0.5)
    run.append([1, 2, 3, 4.5], seconds=0.25, score=0.75)
    run.append(code=Code.LOST, seconds=0.25)
    assert (len(run), run.lost, run.fps) == (3, 1, 2.0)
    assert run.regions == [(), [1, 2, 3, 4.5], ()]
    assert np.isnan(run.scores).tolist() == [True, False, True]
    assert Trajectory().regions == []  # nothing is shared
