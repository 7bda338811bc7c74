import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pysot.cli import check as tool
from toolkit.datasets import load_videos

SCRIPT = Path(__file__).parents[2] / "tools" / "make_dataset_json.py"


def write_image(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((size[1], size[0], 3), np.uint8))


@pytest.fixture
def folders(tmp_path):
    """A user's own set of two videos of three frames."""
    root = tmp_path / "mine"
    for video in ("a", "b"):
        for i in range(3):
            write_image(root / video / f"{i}.png")
        (root / video / "groundtruth.txt").write_text("1,2,30,20\n2,2,30,20\n3,2,30.5,20\n")
    return root


def run(root, *flags, name="mine"):
    tool.main(["--dataset", name, "--root", str(root), *flags])


def change(root, **fields):
    """Change the fields of video ``a`` in the JSON."""
    path = root / "mine.json"
    records = json.loads(path.read_text())
    records["a"].update(fields)
    path.write_text(json.dumps(records))


def test_writes_what_loads_to_the_same_videos(folders, capsys):
    native = load_videos(folders, "mine")
    run(folders)
    out = capsys.readouterr().out
    assert "mine: 2 videos, 6 frames, from the folders in " in out
    assert "0 errors, 0 warnings, 0 notes\nwrote " in out
    records = json.loads((folders / "mine.json").read_text())
    assert list(records) == ["a", "b"]
    assert records["a"] == {
        "video_dir": "a",
        "init_rect": [1, 2, 30, 20],
        "img_names": ["a/0.png", "a/1.png", "a/2.png"],
        "gt_rect": [[1, 2, 30, 20], [2, 2, 30, 20], [3, 2, 30.5, 20]],
        "attr": [],
        "width": 40,
        "height": 30,
    }
    for name, video in load_videos(folders, "mine").items():
        assert video.img_names == native[name].img_names
        assert video.gt_traj == native[name].gt_traj


def test_a_json_is_checked_and_left_alone(folders, capsys):
    run(folders)
    before = (folders / "mine.json").read_bytes()
    change(folders, width=None, height=None)
    edited = (folders / "mine.json").read_bytes()
    capsys.readouterr()
    run(folders)
    assert f"from {folders / 'mine.json'}" in capsys.readouterr().out
    assert (folders / "mine.json").read_bytes() == edited
    run(folders, "--output", str(folders / "copy.json"))
    assert (folders / "copy.json").read_bytes() == before  # the sizes of the frames are back
    run(folders, "--rebuild")
    assert (folders / "mine.json").read_bytes() == before


NAN = float("nan")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"gt_rect": [[1, 2, 3, 4]] * 2},
            "warning  a 3 img_names but 2 gt_rect, the last 1 images",
        ),
        ({"gt_rect": [[0, 0, 0, 9]] * 3}, "error    a cannot start on the box [0, 0, 0, 9]"),
        ({"gt_rect": [[NAN] * 4] * 3}, "error    a cannot start on the box [nan, nan, nan, nan]"),
        (
            {"gt_rect": [[1, 2, 3, 4], [1, 2, 3, -4], [1, 2, 3, 0]]},
            "warning  a width or height not",
        ),
        (
            {"gt_rect": [[1, 2, 3, 4], [9, 9, 9, 9], [40, 2, 3, 4]]},
            "warning  a box outside the image",
        ),
        (
            {"gt_rect": [[1, 2, 3, 4], [NAN] * 4, [1, 2, 3, 4]]},
            "note     a absent (NaN) in frames 1",
        ),
        ({"gt_rect": [[1, 2, 3, 4], None, None]}, "note     a no box but the first: it can be"),
        (
            {"gt_rect": [[1, 2, 3, 4]] * 2 + [[1e999] * 4]},
            "error    a infinite numbers in frames 2",
        ),
        (
            {"img_names": ["a/0.png", "a/x.png", "a/2.png"]},
            "error    a frames 1 have no image, such as",
        ),
        ({"img_names": ["a/0.png"] * 3}, "warning  a the same image for several frames: "),
        ({"img_names": ["a/0.png", 1, 2]}, "error    a img_names: expected text only"),
        ({"width": 41}, "error    a frame 0: {root}/a/0.png is 40x30 but 41x30 was expected"),
    ],
)
def test_faults_of_a_json(folders, capsys, fields, line):
    run(folders)
    change(folders, **fields)
    line = line.replace("{root}", str(folders))
    if line.startswith("error"):
        with pytest.raises(ValueError, match="mine cannot be used as it is"):
            run(folders)
    else:
        run(folders)
    assert line in capsys.readouterr().out


def test_all_faults_are_in_one_report(folders, capsys):
    (folders / "a" / "groundtruth.txt").write_text("x\n")
    (folders / "b" / "groundtruth.txt").write_text("1,2,30,20\n2,2,0,20\n2,2,3,20\n1,1,1,1\n")
    with pytest.raises(ValueError, match="see the 2 lines above"):
        run(folders)
    assert not (folders / "mine.json").exists()
    out = capsys.readouterr().out
    assert "groundtruth.txt: line 1: expected 4 or 8 numbers" in out
    assert "3 images but 4 boxes" in out
    assert "2 errors, 0 warnings, 0 notes" in out


def test_strict_takes_warnings_for_errors(folders, capsys):
    (folders / "b" / "groundtruth.txt").write_text("1,2,30,20\n2,2,0,20\n3,2,3,20\n")
    with pytest.raises(ValueError, match="see the 1 lines above"):
        run(folders, "--strict")
    assert not (folders / "mine.json").exists()
    run(folders)
    assert (folders / "mine.json").exists()


@pytest.mark.parametrize("damage", ["size", "junk"])
def test_every_image_is_looked_into_on_request(folders, capsys, damage):
    if damage == "size":
        write_image(folders / "b" / "2.png", (30, 40))
    else:
        (folders / "b" / "2.png").write_bytes(b"junk")
    run(folders)
    (folders / "mine.json").unlink()
    with pytest.raises(ValueError, match="cannot be used"):
        run(folders, "--check-images")
    assert "error    b frame 2: " in capsys.readouterr().out


def test_faults_of_the_whole_set(tmp_path, capsys):
    record = {"img_names": ["1.jpg"], "gt_rect": [[1, 2, 3, 4]]}
    path = tmp_path / "VOT2019.json"
    path.write_text(json.dumps({"a": record, "A": record}))
    run(tmp_path, name="VOT2019")
    out = capsys.readouterr().out
    assert "warning   no images below " in out
    assert "warning   no frame size, so no score: A, a\n" in out
    assert "warning   names that differ in case only: A, a\n" in out
    assert "warning   2 usable videos, but 60 belong to the set\n" in out
    assert "note      tag occlusion is not given for A, a\n" in out
    text = json.dumps(record)
    path.write_text(f'{{"a": {text}, "a": {text}}}')
    with pytest.raises(ValueError, match="cannot be used"):
        run(tmp_path, name="VOT2019")
    assert "error    a comes more than once in the JSON" in capsys.readouterr().out


def test_a_video_without_a_first_box_is_named(folders, capsys):
    (folders / "b" / "groundtruth.txt").unlink()
    with pytest.raises(ValueError, match="see the 1 lines above"):
        run(folders)
    assert f"error    b {folders}/b/groundtruth.txt is missing" in capsys.readouterr().out


def test_script_reports_errors_in_one_line_and_exits_with_2(tmp_path):
    command = [sys.executable, str(SCRIPT), "--dataset", "x", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no folders of x in ") and done.stderr.count("\n") == 1


def turn(path, orientation):
    """Store an image with an EXIF orientation."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def test_images_turned_by_exif_are_told_unless_a_size_decides(folders, capsys):
    for i in range(3):
        turn(folders / "a" / f"{i}.png", 6)
    run(folders, "--check-images")
    assert (
        "warning  a 3 images are turned by EXIF orientation 6; no stated" in capsys.readouterr().out
    )
    record = json.loads((folders / "mine.json").read_text())["a"]
    assert (record["width"], record["height"]) == (30, 40)
    for size in ((40, 30), (30, 40)):  # the image as stored, and turned
        change(folders, width=size[0], height=size[1])
        run(folders, "--check-images", "--strict")
        for image, _ in load_videos(folders, "mine")["a"]:
            assert image.shape[1::-1] == size


def test_a_video_of_several_orientations_changes_its_size(folders):
    turn(folders / "a" / "2.png", 8)
    with pytest.raises(ValueError, match="mine cannot be used as it is"):
        run(folders, "--check-images")
    video = load_videos(folders, "mine")["a"]
    assert [image.shape[:2] for image, _ in video] == [(30, 40), (30, 40), (40, 30)]
