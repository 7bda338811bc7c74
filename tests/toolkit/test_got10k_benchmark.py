import json

import numpy as np
import pytest
from box_files import write_boxes

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import GOT10kEvaluation, build_evaluation
from toolkit.evaluation.one_pass import limited

GT = [[10, 10, 20, 20]] * 5
HALF = [10, 10, 20, 10]  # overlap 0.5 with them
AWAY = [60, 60, 20, 20]


@pytest.fixture
def got_set(tmp_path):
    """Function that writes a set and runs {video: [boxes of a run, ...]}."""

    def build(runs, gt=GT, cover=None):
        record = {
            "img_names": [f"{i:08d}.jpg" for i in range(len(gt))],
            "gt_rect": gt,
            "width": 160,
            "height": 120,
        }
        if cover:
            record["cover"] = cover
        (tmp_path / "GOT-10k.json").write_text(json.dumps(dict.fromkeys(runs, record)))
        for video, repetitions in runs.items():
            for number, boxes in enumerate(repetitions, 1):
                folder = tmp_path / "results" / "t" / video
                write_boxes(folder / f"{video}_{number:03d}.txt", boxes)
        dataset = DatasetFactory.create_dataset(name="GOT-10k", dataset_root=tmp_path)
        dataset.set_tracker(tmp_path / "results", ["t"])
        return dataset

    return build


def test_first_frame_does_not_count_and_thresholds_are_strict(got_set):
    evaluation = build_evaluation(got_set({"a": [[AWAY, GT[0], HALF, HALF, AWAY]]}))
    assert type(evaluation) is GOT10kEvaluation
    scores = evaluation.scores("t")
    assert scores.metrics == pytest.approx({"ao": 2 / 4, "sr50": 1 / 4, "sr75": 1 / 4})
    assert scores.curves["success"].y[[0, 49, 50, 99, 100]].tolist() == [0.75, 0.75, 0.25, 0.25, 0]
    assert scores.problems == []


def test_frames_without_cover_do_not_count(got_set):
    dataset = got_set({"a": [[GT[0], GT[0], AWAY, GT[0], AWAY]]}, cover=[8, 8, 0, 1, 0])
    evaluation = GOT10kEvaluation(dataset)
    assert evaluation.scores("t").metrics["ao"] == 1
    overlaps = evaluation.frame_overlaps("t", "a")
    assert np.isnan(overlaps).tolist() == [True, False, True, False, True]


def test_frames_are_pooled_and_repetitions_all_count(got_set):
    runs = {"a": [GT, GT, [GT[0], AWAY, AWAY, AWAY, AWAY]], "b": [[GT[0], *[AWAY] * 4]]}
    scores = GOT10kEvaluation(got_set(runs)).scores("t")
    assert scores.metrics["ao"] == pytest.approx(8 / 16)
    assert scores.videos["a"]["ao"] == pytest.approx(8 / 12)


def test_boxes_are_limited_to_the_frame_position_first(got_set):
    video = got_set({"a": [GT]})[0]
    boxes = np.array([[-10, -5, 30, 30], [150, 100, 30, 30], [200, 10, 5, 5]], float)
    assert limited(boxes, video).tolist() == [[0, 0, 30, 30], [150, 100, 10, 20], [160, 10, 0, 5]]


@pytest.mark.parametrize(("incomplete", "ao"), [("lost", 3 / 8), ("skip", 1)])
def test_missing_results_are_lost_or_left_out(got_set, incomplete, ao):
    dataset = got_set({"a": [GT[:4]], "b": []})
    scores = GOT10kEvaluation(dataset, incomplete).scores("t")
    assert scores.metrics["ao"] == pytest.approx(ao)
    assert len(scores.problems) == 2


@pytest.mark.parametrize("absent", [[0, 0, 0, 0], None])
def test_the_test_set_is_left_to_its_server(got_set, absent):
    dataset = got_set({"a": [GT]}, gt=[GT[0], *[absent] * 4])
    with pytest.raises(ValueError, match="GOT-10k has ground truth for first frames only"):
        GOT10kEvaluation(dataset).scores("t")


def test_without_a_frame_size_the_sets_that_need_one_are_named(got_set):
    dataset = got_set({"a": [GT]})
    path = dataset.dataset_root / "GOT-10k.json"
    records = json.loads(path.read_text())
    del records["a"]["width"], records["a"]["height"]
    path.write_text(json.dumps(records))
    unsized = DatasetFactory.create_dataset(name="GOT-10k", dataset_root=dataset.dataset_root)
    unsized.set_tracker(dataset.tracker_path, ["t"])
    with pytest.raises(FileNotFoundError, match=r"'a': its frame size is not known.*and GOT-10k"):
        build_evaluation(unsized).scores("t")
