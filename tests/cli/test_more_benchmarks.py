"""LaSOText, AVisT, TNL2K, TC128, VisDrone-SOT and UAVDT-SOT from folder to score."""

import json

import cv2
import numpy as np
import pytest

from pysot.cli import check, test
from pysot.cli import eval as evaluate
from toolkit.datasets import load_videos

IMAGE = cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes()
BOXES = "10,20,30,40\n10,20,30,40\n50,20,10,10\n"  # one that stands still is right in two of three
FLAGS = "0,0,1"
LASOT = {
    "groundtruth.txt": BOXES,
    "full_occlusion.txt": "0,0,0",
    "out_of_view.txt": FLAGS,
}
FOLDERS = {
    "LaSOText": ("atv/atv-1/img/%08d.jpg", {f"atv/atv-1/{k}": v for k, v in LASOT.items()}),
    "AVisT": (
        "sequences/fog/img_%05d.jpg",
        {
            "anno/fog.txt": BOXES.replace(",", " "),
            "full_occlusion/fog_full_occlusion.txt": "0,0,0",
            "out_of_view/fog_out_of_view.txt": FLAGS,
        },
    ),
    "TNL2K": ("cat/imgs/%d.png", {"cat/groundtruth.txt": BOXES, "cat/language.txt": "a cat"}),
    "TC128": (
        "Ball/img/%04d.jpg",
        {"Ball/Ball_gt.txt": BOXES, "Ball/Ball_frames.txt": "1,3"},
    ),
    "VisDrone-SOT": (
        "sequences/uav1_s/img%07d.jpg",
        {"annotations/uav1_s.txt": BOXES, "attributes/uav1_s_attr.txt": "0," * 11 + "1"},
    ),
    "UAVDT-SOT": ("S0101/img%06d.jpg", {"anno/S0101_gt.txt": BOXES}),
}
# trackers start half a pixel beside the box, as in PySOT: an overlap above 19 of 21 thresholds
SUCCESS = pytest.approx(2 / 3 * 19 / 21, abs=1e-9)


def write(root, name):
    pattern, files = FOLDERS[name]
    content = {pattern % i: IMAGE for i in (1, 2, 3)} | {k: v.encode() for k, v in files.items()}
    for path, data in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.mark.parametrize("name", FOLDERS)
def test_from_folders_to_scores(name, tmp_path, capsys, caplog):
    root, results = write(tmp_path / name, name), tmp_path / "results"
    where = ["--dataset", name, "--dataset-root", str(root)]
    test.main([*where, "--static", "--results", str(results)])
    assert f"{name} has 1 videos here, but" in caplog.text  # a set that is not all there
    check.main(where)
    (video,) = load_videos(root, name).values()  # by the JSON now
    record = json.loads((root / f"{name}.json").read_text())[video.name]
    assert (record["width"], record["height"]) == (80, 60)
    assert record["attr"] == (["Viewpoint Change"] if name == "VisDrone-SOT" else [])
    assert record.get("absent") == ([1, 1, 0] if name in ("LaSOText", "AVisT") else None)
    scores = tmp_path / "scores.json"
    evaluate.main([*where, "-p", str(results), "--json", str(scores)])
    found = json.loads(scores.read_text())["trackers"]["static"]["metrics"]
    assert found["success"] == SUCCESS
    assert found["op50"] == pytest.approx(2 / 3)
    table = capsys.readouterr().out
    assert ("OP@0.50" in table) == (name == "AVisT")


@pytest.mark.parametrize(
    ("name", "built", "text"),
    [
        ("LaSOText", "TC128", r"no folders of LaSOText in .*: looked for \*/\*/groundtruth.txt"),
        ("AVisT", "VisDrone-SOT", r"no folders of AVisT in .*: looked for anno/\*.txt"),
        ("TNL2K", "TC128", r"no folders of TNL2K in .*: looked for \*/groundtruth.txt"),
        ("TC128", "TNL2K", r"no folders of TC128 in .*: looked for \*/\*_gt.txt"),
        ("VisDrone-SOT", "AVisT", r"no folders of VisDrone-SOT in .*: looked for annotations/\*"),
        ("UAVDT-SOT", "AVisT", r"no folders of UAVDT-SOT in .*: looked for anno/\*_gt.txt or UAV"),
    ],
)
def test_the_folder_of_another_set_is_one_line(name, built, text, tmp_path):
    with pytest.raises(FileNotFoundError, match=text):
        load_videos(write(tmp_path, built), name)


@pytest.mark.parametrize(
    ("name", "files", "error", "text"),
    [
        (
            "LaSOText",
            {"bird/bird-2/groundtruth.txt": BOXES},
            FileNotFoundError,
            "holds videos of LaSOT only; those of the extension are others",
        ),
        (
            "TNL2K",
            {"train/cat/groundtruth.txt": BOXES},
            FileNotFoundError,
            "no test videos, but those of .*train",
        ),
        ("AVisT", {"anno/fog.txt": BOXES}, ValueError, "fog_full_occlusion.txt is missing: no abs"),
        (
            "TC128",
            {"a/a_gt.txt": BOXES, "a/a_frames.txt": "one"},
            ValueError,
            "a_frames.txt: expected the first and the last number, as 1,271",
        ),
        (
            "VisDrone-SOT",  # those of several objects have lines of other columns
            {"annotations/uav1_s.txt": "1,0,593,43,174,190,0,0,0,0\n"},
            ValueError,
            r"annotations/uav1_s.txt: line 1: expected 4 or 8 numbers, got '1,0,593",
        ),
    ],
)
def test_what_cannot_be_the_set_is_refused(name, files, error, text, tmp_path):
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    with pytest.raises(error, match=text):
        load_videos(tmp_path, name)


def test_a_video_without_images_is_a_warning(tmp_path, caplog):
    root = write(tmp_path, "UAVDT-SOT")
    (root / "anno" / "S0202_gt.txt").write_text(BOXES)
    videos = load_videos(root, "UAVDT-SOT")
    assert list(videos) == ["S0101", "S0202"]
    assert "no images in" in caplog.text and "enough to score, not to track" in caplog.text
