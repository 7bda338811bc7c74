import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest

from demo.synthetic import make as make_synthetic
from demo.synthetic.figures import JOINTED, RIGID
from demo.synthetic.make import STAMP, main
from demo.synthetic.scenes import ATTRIBUTES
from pysot.core import RunFailed

SMALL = ["--train-videos", "3", "--train-frames", "3", "--test-videos", "2", "--test-frames", "4"]


def make(root, *more):
    main([*SMALL, "--train-root", f"{root}/t", "--test-root", f"{root}/Mini", *more])


def digest(root):
    """Names and contents of all files under a folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both sets, made by one process."""
    root = tmp_path_factory.mktemp("made")
    make(root, "--workers", "1")
    return root


def test_same_files_from_any_number_of_workers(made, tmp_path):
    make(tmp_path, "--workers", "2")
    assert digest(tmp_path) == digest(made)


def test_other_seed_other_files(made, tmp_path):
    make(tmp_path, "--workers", "1", "--seed", "2")
    assert (tmp_path / "t" / "train.json").read_text() != (made / "t" / "train.json").read_text()


def test_training_set_is_in_the_crop_format(made):
    text = (made / "t" / "train.json").read_text()
    annotation = json.loads(text)
    assert text == json.dumps(annotation, indent=4, sort_keys=True)
    assert sorted(annotation) == ["scene_0000", "scene_0001", "scene_0002"]
    crops = set()
    for video, tracks in annotation.items():
        for track, frames in tracks.items():
            for frame, (x1, y1, x2, y2) in frames.items():
                assert min(x2 - x1, y2 - y1) >= 8
                crops |= {f"{video}/{frame}.{track}.{kind}.jpg" for kind in "xz"}
                crops.add(f"{video}/{frame}.{track}.m.png")
    written = (made / "t" / "crop511").rglob("*.*")
    assert {f"{path.parent.name}/{path.name}" for path in written} == crops and len(crops) > 12
    sizes = {"x": (511, 511, 3), "z": (127, 127, 3), "m": (511, 511)}
    for name in crops:
        image = cv2.imread(str(made / "t" / "crop511" / name), cv2.IMREAD_UNCHANGED)
        assert image.shape == sizes[name[-5]]


def test_mask_crops_show_the_object_in_its_box(made):
    annotation = json.loads((made / "t" / "train.json").read_text())
    for video, tracks in annotation.items():
        for track, frames in tracks.items():
            for frame, (x1, y1, x2, y2) in frames.items():
                path = made / "t" / "crop511" / video / f"{frame}.{track}.m.png"
                mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                assert set(np.unique(mask)) == {0, 255}
                w, h = x2 - x1, y2 - y1
                half = 127 / ((w + (w + h) / 2) * (h + (w + h) / 2)) ** 0.5 * np.array([w, h]) / 2
                rows, columns = np.nonzero(mask)
                reach = np.abs([columns.min() - 255, columns.max() - 255]).max()
                assert reach <= half[0] + 3  # the visible part is within the box
                assert np.abs([rows.min() - 255, rows.max() - 255]).max() <= half[1] + 3


def test_kinds_of_the_objects_are_named(made):
    annotation = json.loads((made / "t" / "train.json").read_text())
    kinds = json.loads((made / "t" / "train.categories.json").read_text())
    assert {v: sorted(tracks) for v, tracks in kinds.items()} == {
        v: sorted(tracks) for v, tracks in annotation.items()
    }
    assert {kind for tracks in kinds.values() for kind in tracks.values()} <= set(RIGID + JOINTED)


def test_benchmark_has_otbs_fields_and_all_files(made):
    records = json.loads((made / "Mini" / "Mini.json").read_text())
    assert sorted(records) == ["BackgroundClutters1", "Deformation1"]
    assert json.loads((made / "Mini" / "MiniMasks.json").read_text()) == records
    for name, record in records.items():
        assert record["video_dir"] == name and (record["width"], record["height"]) == (320, 240)
        assert record["init_rect"] == record["gt_rect"][0] and len(record["gt_rect"]) == 4
        assert record["img_names"] == [f"{name}/img/{i:04d}.jpg" for i in (1, 2, 3, 4)]
        rows = zip(record["img_names"], record["mask_names"], record["gt_rect"], strict=True)
        for path, file, (x, y, w, h) in rows:
            assert cv2.imread(str(made / "Mini" / path)).shape == (240, 320, 3)
            mask = cv2.imread(str(made / "Mini" / file), cv2.IMREAD_UNCHANGED)
            assert mask.shape == (240, 320) and set(np.unique(mask)) == {0, 255}
            box = np.array(cv2.boundingRect(mask))  # of the visible part
            assert (box[:2] >= (x, y)).all() and (box[:2] + box[2:] <= (x + w, y + h)).all()


def test_default_benchmark_covers_every_attribute():
    chosen = [make_synthetic.attributes_of(i) for i in range(18)]
    assert {name for names in chosen for name in names} == set(ATTRIBUTES)
    assert [len(names) for names in chosen] == [1] * 11 + [2] * 7


def test_second_run_changes_nothing(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    make(made)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("already there") for line in lines[:2]] == [True, True]
    assert lines[2].startswith("built-in data ready in ")


@pytest.fixture
def training_only(tmp_path, monkeypatch):
    """Calls the tool in a folder where the benchmark costs nothing."""
    monkeypatch.setattr(make_synthetic, "write_test_video", lambda *args: {"video_dir": "none"})
    return lambda *more: make(tmp_path, "--workers", "1", "--train-videos", "2", *more)


def test_other_settings_replace_the_set(training_only, tmp_path):
    training_only()
    (tmp_path / "t" / "notes.txt").write_text("mine")
    training_only("--train-videos", "1")
    assert list(json.loads((tmp_path / "t" / "train.json").read_text())) == ["scene_0000"]
    assert [path.name for path in (tmp_path / "t" / "crop511").iterdir()] == ["scene_0000"]
    assert (tmp_path / "t" / "notes.txt").read_text() == "mine"


def test_interrupted_run_is_not_taken_for_a_set(training_only, tmp_path, monkeypatch):
    def interrupt(root, plan, index):
        if index:
            raise KeyboardInterrupt
        return real(root, plan, index)

    real = make_synthetic.write_training_video
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(make_synthetic, "write_training_video", interrupt)
        training_only()
    assert not (tmp_path / "t" / "train.json").exists()
    assert (tmp_path / "t" / "crop511" / "scene_0000").is_dir()
    training_only()
    assert len(json.loads((tmp_path / "t" / "train.json").read_text())) == 2
    assert json.loads((tmp_path / "t" / STAMP).read_text())["complete"] is True


@pytest.mark.parametrize("damage", ["folder", "index", "stamp", "overwrite"])
def test_incomplete_set_is_made_again(training_only, tmp_path, capsys, damage):
    training_only()
    whole = digest(tmp_path / "t")
    if damage == "folder":
        folder = tmp_path / "t" / "crop511" / "scene_0001"
        folder.rename(tmp_path / "elsewhere")
    elif damage == "index":
        (tmp_path / "t" / "train.json").unlink()
    elif damage == "stamp":
        (tmp_path / "t" / STAMP).write_text('{"form')
    capsys.readouterr()
    training_only(*(["--overwrite"] if damage == "overwrite" else []))
    assert capsys.readouterr().out.splitlines()[0].endswith("2 videos, made")
    assert digest(tmp_path / "t") == whole


THEIRS = [
    "crop511/ILSVRC_0001/000000.00.x.jpg",
    "crop511/scene_0000/notes.txt",
    "Car1/img/0001.jpg",
    "Car1/mask/0001.png",
]


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize("theirs", [*THEIRS, "train.json"])
def test_data_of_others_is_left_alone(training_only, tmp_path, theirs, stamped):
    if stamped:
        training_only()
    path = tmp_path / "t" / theirs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")
    before = digest(tmp_path / "t")
    if stamped and theirs == "train.json":  # which is made again
        training_only()
        return
    for more in ([], ["--overwrite"]):
        with pytest.raises(ValueError, match=f"{theirs}: this tool did not write it"):
            training_only(*more)
    assert digest(tmp_path / "t") == before


def test_links_are_left_alone(training_only, tmp_path):
    training_only()
    (tmp_path / "t" / "crop511" / "scene_0001").rename(tmp_path / "theirs")
    (tmp_path / "t" / "crop511" / "scene_0001").symlink_to(tmp_path / "theirs")
    before = digest(tmp_path / "theirs")
    with pytest.raises(ValueError, match="scene_0001: this tool did not write it"):
        training_only("--overwrite")
    assert digest(tmp_path / "theirs") == before


def test_a_crop_of_an_earlier_run_is_removed(training_only, tmp_path):
    training_only()
    whole, folder = digest(tmp_path / "t"), tmp_path / "t" / "crop511" / "scene_0000"
    for name in ("scene_0009/000000.00.x.jpg", "scene_0000/000999.00.x.jpg"):
        (folder.parent / name).parent.mkdir(exist_ok=True)
        (folder.parent / name).write_text("of a killed run")
    training_only()
    assert digest(tmp_path / "t") == whole
    assert sorted(path.name for path in folder.parent.iterdir()) == ["scene_0000", "scene_0001"]


def test_a_set_that_another_process_writes_to_is_not_stamped(training_only, tmp_path, monkeypatch):
    def write(root, plan, index):
        (root / "crop511/scene_0000").mkdir(parents=True, exist_ok=True)
        (root / "crop511/scene_0000/000999.00.x.jpg").write_text("of another seed")
        return real(root, plan, index)

    real = make_synthetic.write_training_video
    monkeypatch.setattr(make_synthetic, "write_training_video", write)
    with pytest.raises(RunFailed, match="another process"):
        training_only()
    assert json.loads((tmp_path / "t" / STAMP).read_text())["complete"] is False


def test_one_of_the_two_sets_is_made_alone(tmp_path):
    roots = {"train": tmp_path / "train", "test": tmp_path / "Test"}
    given = ["--train-root", str(roots["train"]), "--test-root", str(roots["test"])]
    sizes = ("--train-videos", "--train-frames", "--test-videos", "--test-frames", "--workers")
    for only, root in roots.items():
        main([*given, "--only", only, *[word for name in sizes for word in (name, "1")]])
        assert [path.name for path in tmp_path.iterdir()] == [root.name]
        shutil.rmtree(root)


def test_preview_shows_six_frames_per_video(made, tmp_path):
    make(made, "--preview", str(tmp_path / "new" / "sheet.png"))
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (2 * 240, 6 * 320, 3)
    assert (sheet == (0, 255, 255)).all(axis=2).sum() > 500  # the boxes


@pytest.mark.parametrize(
    "wrong",
    [["--workers", "0"], ["--seed", "-1"], ["--train-videos", "0"], ["--test-root", "same"]],
)
def test_wrong_settings_are_refused(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--train-root", "same", *wrong])
    assert wrong[0] in capsys.readouterr().err
