import json

import cv2
import numpy as np
import pytest

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import MaskEvaluation, build_evaluation
from toolkit.evaluation.masks import (
    boundary,
    boundary_accuracy,
    region_similarity,
    statistics,
)

pytest.importorskip("PIL")
SHAPE = (60, 80)


def square(left=10, top=10, side=20, label=1):
    labels = np.zeros(SHAPE, np.uint8)
    labels[top : top + side, left : left + side] = label
    return labels


@pytest.fixture
def mask_set(tmp_path):
    """Function that writes annotations {video: [labels]} and results {video: {frame: labels}}."""
    from toolkit.io.images import write_labels

    def build(annotations, results, name="DAVIS2016"):
        records = {}
        for video, frames in annotations.items():
            masks = [f"masks/{video}/{i:05d}.png" for i in range(len(frames))]
            for path, labels in zip(masks, frames, strict=True):
                write_labels(tmp_path / path, labels)
            records[video] = {
                "img_names": [f"{video}/{i:05d}.jpg" for i in range(len(frames))],
                "gt_rect": [[10, 10, 20, 20]] * len(frames),
                "mask_names": masks,
            }
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
        for video, frames in results.items():
            for index, labels in frames.items():
                write_labels(tmp_path / "results" / "t" / video / f"{index:05d}.png", labels)
        dataset = DatasetFactory.create_dataset(name=name, dataset_root=tmp_path)
        dataset.set_tracker(tmp_path / "results", ["t"])
        return dataset

    return build


def test_region_similarity():
    mask = square() > 0
    assert region_similarity(mask, mask) == 1
    assert region_similarity(mask, square(left=20) > 0) == pytest.approx(200 / 600)
    assert region_similarity(mask, np.zeros_like(mask)) == 0
    assert region_similarity(np.zeros_like(mask), np.zeros_like(mask)) == 1


def test_boundary_is_one_pixel_wide():
    edge = boundary(square(left=10, top=10, side=3) > 0)
    # differs from its neighbor right, below or right below: the inside's last row and column,
    # and the outside's row above and column to the left
    assert edge[9:13, 9:13].astype(int).tolist() == [
        [1, 1, 1, 1],
        [1, 0, 0, 1],
        [1, 0, 0, 1],
        [1, 1, 1, 1],
    ]
    assert np.count_nonzero(edge) == 12
    assert not boundary(np.ones(SHAPE, bool)).any()  # the frame's border is none


def test_boundaries_may_be_off_by_the_tolerance():
    mask = square() > 0  # the diagonal is 100 pixels, its 0.008 rounds up to 1
    assert boundary_accuracy(mask, mask) == 1
    assert boundary_accuracy(mask, square(left=11) > 0) == 1
    shifted = boundary_accuracy(mask, square(left=14) > 0)
    assert 0.2 < shifted < 0.6  # upper and lower sides are right but for their ends
    assert boundary_accuracy(mask, square(left=14) > 0, bound=0.04) == 1
    empty = np.zeros(SHAPE, bool)
    assert [boundary_accuracy(a, b) for a, b in ((mask, empty), (empty, mask), (empty, empty))] == [
        0,
        0,
        1,
    ]


def test_statistics_of_frames():
    values = np.array([1.0, 1.0, 1.0, 0.6, 0.5, 0.4, 0.2, 0.2, 0.2])
    mean, recall, decay = statistics(values)
    assert mean == pytest.approx(5.1 / 9)
    assert recall == pytest.approx(4 / 9)  # above 0.5, not at it
    assert decay == pytest.approx(0.8)  # frames 0-2 and 6-8
    assert statistics(np.array([0.7])) == pytest.approx((0.7, 1, 0))


def test_first_and_last_frame_do_not_count(mask_set):
    good, bad = square(), square(left=50)
    results = {"a": {0: bad, 1: good, 2: good, 3: bad}}
    evaluation = build_evaluation(mask_set({"a": [good] * 4}, results))
    assert type(evaluation) is MaskEvaluation
    scores = evaluation.scores("t")
    assert (scores.metrics["j"], scores.metrics["f"], scores.metrics["jf"]) == (1, 1, 1)
    assert scores.problems == []


def test_objects_have_equal_weight(mask_set):
    both = square() + square(left=40, label=2)
    frames = dict.fromkeys(range(4), square())
    annotations = {"a": [both] * 4, "b": [square()] * 4}
    dataset = mask_set(annotations, {"a": frames, "b": frames}, "DAVIS2017")
    scores = MaskEvaluation(dataset).scores("t")
    assert scores.metrics["j"] == pytest.approx(2 / 3)  # 1 and 0 of video a, 1 of video b
    assert scores.videos["a"]["j"] == 0.5


@pytest.mark.parametrize(("incomplete", "j"), [("lost", 0.5), ("skip", 1)])
def test_missing_frames_are_reported_and_handled(mask_set, incomplete, j):
    frames = {0: square(), 1: square(), 3: square()}
    dataset = mask_set({"a": [square()] * 4}, {"a": frames})
    scores = MaskEvaluation(dataset, incomplete).scores("t")
    assert scores.metrics["j"] == j
    assert "a has 3 masks for 4 frames: the rest" in scores.problems[0]
    with pytest.raises(ValueError, match="t:\n  a has 3 masks for 4 frames"):
        MaskEvaluation(dataset, "error").scores("t")


def test_missing_videos_and_foreign_folders_are_reported(mask_set, tmp_path):
    frames = dict.fromkeys(range(4), square())
    dataset = mask_set({"a": [square()] * 4, "b": [square()] * 4}, {"a": frames})
    (tmp_path / "results" / "t" / "other").mkdir()
    scores = MaskEvaluation(dataset).scores("t")
    assert scores.metrics["j"] == 0.5
    assert scores.problems == [
        "1 of 2 videos have no result (b): counted as lost",
        "1 file(s) or folder(s) of no video (other): ignored",
    ]


def test_masks_of_another_size_or_damaged_are_reported(mask_set, tmp_path):
    frames = {0: square(), 1: np.zeros((6, 8), np.uint8), 2: square(), 3: square()}
    dataset = mask_set({"a": [square()] * 4}, {"a": frames})
    path = tmp_path / "results" / "t" / "a" / "00002.png"
    path.write_bytes(path.read_bytes()[:40])
    problems = MaskEvaluation(dataset).scores("t").problems
    assert "00001.png is 8x6, the annotation 80x60: counted as lost" in problems[0]
    assert "cannot decode the mask" in problems[1]
    with pytest.raises(ValueError, match=r"a:\n  .*is 8x6, the annotation 80x60"):
        MaskEvaluation(dataset, "error").scores("t")


def test_results_with_soft_edges_are_not_scored(mask_set, tmp_path):
    dataset = mask_set({"a": [square()] * 5}, {"a": dict.fromkeys(range(5), square())})
    assert MaskEvaluation(dataset).scores("t").metrics["j"] == 1
    folder = tmp_path / "results" / "t" / "a"
    pixels = square() * 255
    soft = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 1).astype(np.uint8)
    cv2.imwrite(str(folder / "00001.png"), soft)
    (folder / "00002.png").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    cv2.imwrite(str(folder / "00003.png"), pixels)  # one object, exactly
    scores = MaskEvaluation(dataset).scores("t")
    (problem,) = scores.problems
    text = "has soft edges or is a JPEG; expected labels: counted as lost (and 1 more such masks)"
    assert f"00001.png {text}" in problem
    assert scores.metrics["j"] == pytest.approx(1 / 3)


def test_annotations_may_have_soft_edges(mask_set, tmp_path):
    dataset = mask_set({"a": [square()] * 4}, {"a": dict.fromkeys(range(4), square())})
    for path in dataset.videos["a"].mask_names:
        pixels = cv2.GaussianBlur(square() * np.float32(255), (0, 0), 1).astype(np.uint8)
        cv2.imwrite(path, pixels)
    scores = MaskEvaluation(dataset).scores("t")
    assert scores.metrics["j"] > 0.95
    assert not scores.problems


def test_no_result_at_all_says_what_was_looked_for(mask_set):
    dataset = mask_set({"a": [square()] * 4}, {})
    with pytest.raises(ValueError, match="t: no usable result for any of the 1 videos"):
        MaskEvaluation(dataset).scores("t")


def test_sets_without_masks_are_refused(mask_set, tmp_path):
    from toolkit.io.images import write_labels

    records = {"a": {"img_names": ["0.jpg", "1.jpg", "2.jpg"], "gt_rect": [[1, 2, 3, 4]] * 3}}
    (tmp_path / "DAVIS2016.json").write_text(json.dumps(records))
    write_labels(tmp_path / "results" / "t" / "a" / "0.png", square())
    dataset = DatasetFactory.create_dataset(name="DAVIS2016", dataset_root=tmp_path)
    dataset.set_tracker(tmp_path / "results", ["t"])
    with pytest.raises(ValueError, match="'a' has no annotation masks"):
        MaskEvaluation(dataset).scores("t")
