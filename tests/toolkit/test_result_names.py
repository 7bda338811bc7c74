"""Results of other toolkits are found under their names, and paired with the right frames."""

import json
import os

import numpy as np
import pytest

from toolkit.datasets import Dataset
from toolkit.datasets.benchmarks import find_benchmark
from toolkit.evaluation import build_evaluation
from toolkit.results.store import ResultStore

PERFECT = 20 / 21


def make_evaluation(root, name, videos, results, incomplete="lost"):
    """Evaluate the tracker ``t``: its files by path, of boxes or of text.

    ``videos`` gives the number of frames, or a pair of it and the number of the first image.
    """
    records = {}
    for video, frames in videos.items():
        count, first = frames if isinstance(frames, tuple) else (frames, 1)
        records[video] = {
            "img_names": [f"{video}/img/{first + i:04d}.jpg" for i in range(count)],
            "gt_rect": [box(first + i) for i in range(count)],
            "width": 40000,
            "absent": [1] * count,
            "height": 100,
        }
    root.mkdir(exist_ok=True)
    (root / f"{name}.json").write_text(json.dumps(records))
    for path, content in results.items():
        file = root / "t" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else as_text(content))
    dataset = Dataset(name, root)
    dataset.set_tracker(root, ["t"])
    return build_evaluation(dataset, incomplete)


def box(number):
    """A box that overlaps none of another image."""
    return [50 * (number - 1), 10, 40, 30]


def as_text(boxes, separator=","):
    return "".join(separator.join(map(str, one)) + "\n" for one in boxes)


def boxes(count, first=1):
    return [box(first + i) for i in range(count)]


OTB = {"Basketball": 3, "BlurCar1": 3, "Human4-2": 3, "Jogging-1": 3, "Jogging-2": 3}


@pytest.mark.parametrize(
    "names",
    [
        "Basketball BlurCar1 Human4-2 Jogging-1 Jogging-2",
        "Basketball BlurCar1 Human4_2 Jogging_1 Jogging_2",  # pytracking
        "Basketball BlurCar1 Human4 Jogging.1 Jogging.2",  # got10k
        "basketball blurCar1 human4_2 jogging_1 jogging_2",  # archives of OTB
        "basketball blurcar1 human4-2 jogging-1 jogging.2",
        "BASKETBALL BLURCAR1 HUMAN4 JOGGING_1 JOGGING.2",
        "Basketball_001 BlurCar1_001 Human4_2_001 Jogging-1_001 Jogging-2_001",
    ],
)
def test_names_of_other_toolkits(tmp_path, names):
    results = {f"{name}.txt": boxes(3) for name in names.split()}
    scores = make_evaluation(tmp_path, "OTB100", OTB, results).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT)
    assert scores.problems == []


@pytest.mark.parametrize(
    ("dataset", "video", "path"),
    [
        ("UAV123", "bike1", "uav_bike1.txt"),
        ("UAV123", "uav_bike1", "bike1.txt"),
        ("UAV123_10fps", "person1_s", "UAV_person1_s.txt"),
        ("NFS30", "Gymnastics", "nfs_Gymnastics.txt"),
        ("NFS240", "nfs_Gymnastics", "Gymnastics.txt"),
        ("LaSOT", "airplane-1", "airplane_1.txt"),
        ("TrackingNet", "0-6LB4FqxoE_0", "0-6lb4fqxoe_0.txt"),
        ("Mine", "my video.2", "my_video-2.txt"),
        ("Mine", "v", "v/v_001.txt"),
        ("Mine", "v", "V.TXT"),
        ("GOT-10k", "GOT-10k_Val_000001", "GOT-10k_Val_000001_001.txt"),
        ("GOT-10k", "GOT-10k_Val_000001", "GOT-10k_Val_000001.txt"),
        ("GOT-10k", "GOT-10k_Val_000001", "GOT-10k_Val_000001/GOT-10k_Val_000001.txt"),
        ("GOT-10k_val", "GOT-10k_Val_000001", "got-10k_val_000001/got-10k_val_000001_001.txt"),
    ],
)
def test_places_and_prefixes_of_other_toolkits(tmp_path, dataset, video, path):
    time = path.replace("_001.txt", ".txt").replace(".txt", "_time.txt")
    results = {path: boxes(3)} | ({time: "1\n" * 3} if "GOT" in path else {})
    evaluation = make_evaluation(tmp_path, dataset, {video: 3}, results)
    value = evaluation.scores("t").metrics[evaluation.key]
    assert value == pytest.approx(1 if "GOT" in dataset else PERFECT)
    assert evaluation.scores("t").problems == []
    assert evaluation.frame_overlaps("t", video)[1:].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["GOT-10k_Val_000001", "got_10k_val_000001"])
def test_repetitions_of_one_name_are_one_result(tmp_path, name):
    results = {f"{name}_{run:03d}.txt": boxes(3) for run in (1, 2, 3)}
    evaluation = make_evaluation(tmp_path, "GOT-10k", {"GOT-10k_Val_000001": 3}, results)
    assert evaluation.scores("t").metrics["ao"] == 1 and evaluation.scores("t").problems == []
    assert len(evaluation.read("t", "GOT-10k_Val_000001")) == 3


def test_vot_results_without_their_folder_baseline(tmp_path):
    text = "1\n" + as_text(boxes(119, 2))
    evaluation = make_evaluation(tmp_path, "VOT2018", {"ants1": 120}, {"ants1/ants1_001.txt": text})
    scores = evaluation.scores("t")
    assert scores.metrics["eao"] == pytest.approx(1) and scores.problems == []


def test_the_proper_name_is_taken_before_all_others(tmp_path):
    results = {
        "Jogging-1.txt": boxes(3),
        "jogging_1.txt": boxes(3, 9),
        "Jogging.1.txt": boxes(3, 9),
    }
    scores = make_evaluation(tmp_path, "OTB100", {"Jogging-1": 3}, results).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT)
    assert scores.problems == [
        "2 file(s) or folder(s) of no video (Jogging.1.txt, jogging_1.txt): ignored"
    ]


def test_of_two_names_that_fit_none_is_taken(tmp_path):
    results = {"jogging_1.txt": boxes(3), "Jogging.1.txt": boxes(3, 9), "Basketball.txt": boxes(3)}
    videos = {"Basketball": 3, "Jogging-1": 3}
    scores = make_evaluation(tmp_path, "OTB100", videos, results).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT / 2)
    assert scores.problems == [
        "1 video(s) with several results, none of the very name (Jogging.1.txt or jogging_1.txt): "
        "counted as lost"
    ]
    with pytest.raises(ValueError, match=r"Jogging\.1\.txt or jogging_1\.txt"):
        make_evaluation(tmp_path, "OTB100", videos, {}, "error").scores("t")


def test_videos_of_like_names_take_their_own_only(tmp_path):
    videos = {"a_1": 3, "a-1": 3, "Human4": 3, "Human4-2": 3}
    results = {"A.1.txt": boxes(3), "Human4.txt": boxes(3)}
    scores = make_evaluation(tmp_path, "OTB100", videos, results).scores("t")
    assert {name: of["success"] > 0 for name, of in scores.videos.items()} == {
        "Human4": True,
        "Human4-2": False,
        "a-1": False,
        "a_1": False,
    }


def test_binary_results_of_the_vot_toolkit_are_named(tmp_path):
    results = {"baseline/ants1/ants1_001.bin": "\0", "baseline/bag/bag_001.txt": "1\n1,2,3,4\n"}
    scores = make_evaluation(tmp_path, "VOT2018", {"ants1": 120, "bag": 120}, results).scores("t")
    assert "1 video(s) with binary files of the VOT toolkit only (ants1)" in scores.problems[1]


@pytest.mark.parametrize(
    ("video", "frames", "first", "lines"),
    [
        ("Tiger1", 20, 6, 25),
        ("David", 471, 300, 770),
        ("BlurCar1", 20, 247, 266),
        ("BlurCar3", 20, 3, 22),
        ("BlurCar4", 20, 18, 37),
    ],
)
@pytest.mark.parametrize("renumbered", [False, True])
def test_runs_over_the_whole_folder_are_cut_where_the_annotation_begins(
    tmp_path, video, frames, first, lines, renumbered
):
    start = 1 if renumbered else first
    results = {f"{video}.txt": boxes(lines, start - first + 1)}
    evaluation = make_evaluation(tmp_path, "OTB100", {video: (frames, start)}, results)
    scores = evaluation.scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT)
    assert evaluation.frame_overlaps("t", video).tolist() == [1] * frames
    assert scores.problems == [
        "1 file(s) over a whole folder, of which the lines of images before the annotation "
        f"({video}.txt: {first - 1}) were left out"
    ]


@pytest.mark.parametrize("video", ["Football1", "Freeman3", "Freeman4", "Diving", "Board"])
def test_images_after_the_annotation_are_cut_at_the_end(tmp_path, video):
    evaluation = make_evaluation(tmp_path, "OTB100", {video: 9}, {f"{video}.txt": boxes(10)})
    assert evaluation.scores("t").metrics["success"] == pytest.approx(PERFECT)
    assert evaluation.scores("t").problems == [
        f"{video}.txt has 10 lines for 9 frames: surplus ignored"
    ]


def test_as_many_surplus_lines_as_images_before_may_be_at_the_end(tmp_path):
    evaluation = make_evaluation(tmp_path, "Mine", {"v": (9, 3)}, {"v.txt": boxes(11, 3)})
    assert evaluation.scores("t").metrics["success"] == pytest.approx(PERFECT)
    assert evaluation.scores("t").problems == ["v.txt has 11 lines for 9 frames: surplus ignored"]


def test_surplus_lines_of_unclear_place_are_not_scored(tmp_path):
    videos = {"Tiger1": (20, 6), "Basketball": 20}
    shifted = {"Tiger1.txt": boxes(23, 3), "Basketball.txt": boxes(20)}
    scores = make_evaluation(tmp_path / "a", "OTB100", videos, shifted).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT / 2)
    assert scores.problems == [
        "Tiger1.txt has 23 lines for 20 frames, which begin at image 6, and it is not clear which "
        "lines belong to them: counted as lost"
    ]
    longer = {"Tiger1.txt": boxes(21, 6), "Basketball.txt": boxes(20)}
    scores = make_evaluation(tmp_path / "b", "OTB100", videos, longer).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (as_text(boxes(3), "\t"), "separators"),
        (as_text(boxes(3), "   "), "separators"),
        (as_text(boxes(3), ", "), None),
        ("x,y,w,h\n" + as_text(boxes(3)), "header line (v.txt): it was left out"),
        ("# x\ty\tw\th\r\n" + as_text(boxes(3), "\t"), "header line"),
        ("left top width height\n" + as_text(boxes(3), " "), "header line"),
    ],
)
def test_separators_and_names_of_columns(tmp_path, text, problem):
    scores = make_evaluation(tmp_path, "Mine", {"v": 3}, {"v.txt": text}).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT)
    assert problem in " ".join(scores.problems) if problem else scores.problems == []


@pytest.mark.parametrize("first", ["none,none,none,none", "lost", "x1 nowhere"])
def test_other_words_are_no_header(tmp_path, first, caplog):
    text = f"{first}\n" + as_text(boxes(2, 2))
    results = {"v.txt": text, "w.txt": boxes(3)}
    scores = make_evaluation(tmp_path, "Mine", {"v": 3, "w": 3}, results).scores("t")
    assert scores.metrics["success"] == pytest.approx(PERFECT / 2)
    assert "v.txt: line 1: expected 4 numbers x,y,w,h" in scores.problems[0]


def test_pysots_class_finds_them_too(tmp_path):
    from toolkit.datasets import DatasetFactory

    make_evaluation(tmp_path, "OTB100", OTB, {"human4.txt": boxes(3)})
    video = DatasetFactory.create_dataset(name="OTB100", dataset_root=tmp_path)["Human4-2"]
    np.testing.assert_array_equal(video.load_tracker(tmp_path, "t", store=False), boxes(3))


def test_a_folder_is_listed_once_for_each_way_to_name_results(tmp_path, monkeypatch):
    names = [f"Video_{number}" for number in range(40)]
    for name in names:
        (tmp_path / f"{name}_001.txt").write_text("1,2,3,4\n")
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(str(path)) or listdir(path))
    videos = [name.replace("_", "-") for name in names]
    store = ResultStore(tmp_path, "flat")
    assert all(store.locate(videos, find_benchmark("mine")).runs.values())
    assert store.binaries(videos) == set()
    assert listed.count(str(tmp_path)) <= 5
