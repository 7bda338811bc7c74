import csv
import json
import os
import runpy
import shutil
import sys
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pysot.cli.prepare import main as prepare_main
from pysot.core import RunFailed
from pysot.datasets import prepare as prepare_module
from pysot.datasets.annotation import read_annotations
from pysot.datasets.crop import CropForm, crop_mask, crop_pair, write_crops
from pysot.datasets.prepare import annotate, check_set, crop_set, frames_of, label_boxes
from toolkit.datasets.formats import coco as coco_format
from toolkit.datasets.formats import davis, tracking
from toolkit.datasets.formats.coco import PolygonMask, RunMask, read_mask, run_lengths
from toolkit.datasets.formats.custom import read_any
from toolkit.datasets.formats.voc import keep_runs, read_det, read_vid
from toolkit.datasets.reading import Reading
from toolkit.datasets.video import Frame, Sequence
from toolkit.io.images import read_image, read_labels
from toolkit.io.issues import LEVELS, IssueLog

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "train_vid"
SHARED = Path(os.environ.get("PYSOT_SHARED", ROOT.parent / "shared"))
SIZE = (80, 60)


def write_image(path, seed=0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 10, size[0] // 10, 3))
    image = cv2.resize(noise.astype(np.uint8), size)
    assert cv2.imwrite(str(path), image)
    return cv2.imread(str(path))


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_labels(path, boxes, size=SIZE, gray=False):
    """Boxes x, y, w, h of labels 1, 2, ..., as a PNG with a palette or a gray one of 0 and 255."""
    labels = np.zeros(size[::-1], np.uint8)
    for label, (x, y, w, h) in enumerate(boxes, 1):
        labels[y : y + h, x : x + w] = 255 if gray else label
    image = Image.fromarray(labels)
    if not gray:
        image.putpalette(list(range(256)) * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def run_script(name, *argv, cwd, monkeypatch):
    """Run a script of training_dataset in a folder; returns its exit code."""
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", [name, *map(str, argv)])
    try:
        runpy.run_path(str(ROOT / "training_dataset" / name), run_name="__main__")
    except SystemExit as stop:
        return stop.code or 0
    return 0


def read(reader, root, *args, **options):
    """Frames to train on, and all that was wrong."""
    log = IssueLog()
    videos = reader(Reading(Path(root), log, training=True), *args, **options)
    return list(frames_of(videos, log)), log


def kinds(log, *levels):
    return [issue.kind for issue in log.of(*(levels or ("error",)))]


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.*") if path.is_file())


# --- the cropper


@pytest.fixture
def frames(tmp_path):
    found = []
    for number in range(40):
        image = tmp_path / "images" / f"{number}.png"
        write_image(image, number)
        boxes = {0: (10, 10, 40, 30), 3: (30.5, 20, 60, 50)}
        found.append(Frame(f"v{number // 20}", number % 20, image, boxes, categories={3: "cat"}))
    return found


SEARCH_ALONE = CropForm(template=False)


def crop(frames, output, workers=1, form=SEARCH_ALONE):
    log = IssueLog()
    return crop_set(frames, output, log, form, workers), log


def test_crops_are_those_of_single_boxes(frames, tmp_path):
    notes, log = crop(frames[:2], tmp_path / "out", form=CropForm())
    assert not list(log)
    assert files(tmp_path / "out" / "crop511") == [
        f"v0/{frame:06d}.{track}.{kind}.jpg"
        for frame in range(2)
        for track in ("00", "03")
        for kind in "xz"
    ]
    image = cv2.imread(str(frames[1].image))
    for kind, expected in zip("zx", crop_pair(image, (30.5, 20, 60, 50)), strict=True):
        content = (tmp_path / "out/crop511/v0" / f"000001.03.{kind}.jpg").read_bytes()
        assert content == cv2.imencode(".jpg", expected)[1].tobytes()
    assert notes.boxes == {
        "v0": {
            "00": {"000000": [10, 10, 40, 30], "000001": [10, 10, 40, 30]},
            "03": {"000000": [30.5, 20, 60, 50], "000001": [30.5, 20, 60, 50]},
        }
    }
    assert notes.categories == {"v0": {"03": "cat"}}


@pytest.mark.parametrize("size", [255, 511])
def test_restart_markers_change_no_pixel(frames, tmp_path, size):
    crop(frames[:1], tmp_path / "a", form=CropForm(size, False, True))
    crop(frames[:1], tmp_path / "b", form=CropForm(size, False, False))
    name = f"crop{size}/v0/000000.00.x.jpg"
    first, second = (cv2.imread(str(tmp_path / folder / name)) for folder in "ab")
    assert first.shape == (size, size, 3)
    np.testing.assert_array_equal(first, second)
    assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()


def test_workers_change_nothing(frames, tmp_path):
    here, _ = crop(frames, tmp_path / "a")
    there, _ = crop(frames, tmp_path / "b", workers=2)
    assert there.boxes == here.boxes
    assert files(tmp_path / "a" / "crop511") == files(tmp_path / "b" / "crop511")


def test_a_second_run_writes_nothing(frames, tmp_path):
    first, _ = crop(frames, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/crop511").rglob("*.jpg")}
    for frame in frames:
        frame.image.unlink()  # it does not even look at them
    second, log = crop(frames, tmp_path / "out")
    assert not list(log)
    assert (second.boxes, second.categories) == (first.boxes, first.categories)
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_run_goes_on_after_an_interruption(frames, tmp_path):
    crop(frames[:32], tmp_path / "out")
    log = tmp_path / "out" / ".crops.jsonl"
    log.write_text(log.read_text() + '["0123", [["v1", 3')  # killed while it wrote
    kept = (tmp_path / "out/crop511/v0/000000.00.x.jpg").stat().st_mtime_ns
    notes, _ = crop(frames, tmp_path / "out")
    assert len(notes.boxes["v1"]["00"]) == 20
    assert (tmp_path / "out/crop511/v0/000000.00.x.jpg").stat().st_mtime_ns == kept
    again, _ = crop(frames, tmp_path / "out")
    assert again.boxes == notes.boxes


def test_changed_boxes_and_lost_files_are_cut_again(frames, tmp_path):
    crop(frames[:2], tmp_path / "out")
    path = tmp_path / "out/crop511/v0/000001.00.x.jpg"
    content = path.read_bytes()
    path.unlink()
    crop(frames[:2], tmp_path / "out")
    assert path.read_bytes() == content
    moved = [Frame("v0", f.number, f.image, {0: (12, 10, 42, 30)}) for f in frames[:2]]
    crop(moved, tmp_path / "out")
    assert path.read_bytes() != content


def test_bad_files_and_boxes_are_named_and_the_rest_is_cut(frames, tmp_path):
    frames[1].image.unlink()
    frames[2].image.write_bytes(b"text")
    whole = cv2.imencode(".jpg", cv2.imread(str(frames[3].image)))[1].tobytes()
    frames[3].image.write_bytes(whole[:-500])
    boxes = {0: (5, 5, 5, 9), 1: (0, 0, float("nan"), 9), 2: (90, 0, 95, 9), 7: (1, 1, 20, 20)}
    frames[4] = Frame("v0", 4, frames[4].image, boxes)
    notes, log = crop(frames[:6], tmp_path / "out", workers=2)
    assert sorted(kinds(log)) == [
        "box outside the image",
        "box that is not finite",
        "box without area",
        "missing image",
        "unreadable image",
        "unreadable image",
    ]
    named = {issue.where.split(",")[0] for issue in log}
    assert named == {str(frame.image) for frame in frames[1:5]}
    assert sorted(notes.boxes["v0"]["00"]) == ["000000", "000005"]
    assert notes.boxes["v0"]["07"] == {"000004": [1, 1, 20, 20]}
    assert not (tmp_path / "out/crop511/v0/000002.00.x.jpg").exists()
    write_image(frames[1].image, 1)  # mended: the next run finds it
    assert "000001" in crop(frames[:6], tmp_path / "out")[0].boxes["v0"]["00"]


def test_a_full_disk_stops_the_run(frames, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pysot.datasets.crop.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        crop(frames[:1], tmp_path / "out")


def test_masks_are_cut_as_their_crops(tmp_path):
    image = tmp_path / "a.jpg"
    write_image(image)
    write_labels(tmp_path / "a.png", [(10, 20, 30, 15), (50, 5, 10, 40)])
    notes, log = crop([Frame("v", 0, image, labels=tmp_path / "a.png")], tmp_path / "out")
    assert not list(log)
    assert notes.boxes["v"] == {
        "01": {"000000": [10, 20, 40, 35]},
        "02": {"000000": [50, 5, 60, 45]},
    }
    mask = cv2.imread(str(tmp_path / "out/crop511/v/000000.02.m.png"), cv2.IMREAD_UNCHANGED)
    expected = crop_mask(read_labels(tmp_path / "a.png") == 2, (50, 5, 60, 45))
    np.testing.assert_array_equal(mask, expected)
    assert mask[255, 255] == 255 and set(np.unique(mask)) == {0, 255}


# --- check


def test_check_reports_what_is_wrong_without_writing_a_crop(frames, tmp_path):
    frames[1].image.unlink()
    frames[2].image.write_bytes(b"text")
    frames[3] = Frame("v0", 3, frames[3].image, {0: (5, 5, 5, 9)}, size=(70, 60))
    frames[4] = Frame("v0", 4, frames[4].image, {9: (-9, 5, 20, 9)}, size=SIZE)
    log = IssueLog()
    summary = check_set(frames, log, workers=2)
    assert sorted(kinds(log)) == [
        "box without area",
        "image of another size",
        "missing image",
        "unreadable image",
    ]
    assert [(n.kind, n.where.split(",")[-1]) for n in log.of("note")] == [
        ("box that reaches beyond its image", " track 9"),
        ("track of a single frame", " track 9"),
    ]
    assert summary.frames.total() == 40 and summary.tracks.total() == 36 * 2 + 1
    assert not list(tmp_path.rglob("*.x.jpg"))


# --- masks


def test_a_polygon_covers_its_pixels():
    # the square from corner (2, 1) to corner (6, 4) covers columns 2..5 and rows 1..3
    mask = PolygonMask(((2, 1, 6, 1, 6, 4, 2, 4),)).draw((6, 9))
    rows, columns = np.nonzero(mask)
    assert abs(int(mask.sum()) - 12) <= 8  # OpenCV draws the border, too
    assert {2, 3, 4, 5} <= set(columns) <= {1, 2, 3, 4, 5, 6}
    assert {1, 2, 3} <= set(rows) <= {0, 1, 2, 3, 4}


def test_run_lengths_go_down_the_columns():
    mask = read_mask({"size": [3, 4], "counts": [4, 2, 3, 1, 2]}).draw((3, 4))
    assert mask.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]
    with pytest.raises(ValueError, match="image of 5 x 3"):
        RunMask(3, 4, (12,)).draw((3, 5))
    with pytest.raises(ValueError, match="do not sum to 12"):
        RunMask(3, 4, (11,)).draw((3, 4))


def compress(counts):
    """COCO's text for run lengths, by its definition: 5 bits a character, the last with sign."""
    text = ""
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * more + 48)
            if not more:
                break
    return text


def test_compressed_run_lengths(rng):
    assert run_lengths("04") == [0, 4]
    for _ in range(20):
        counts = rng.integers(0, 5000, rng.integers(1, 12)).tolist()
        assert run_lengths(compress(counts)) == counts


@pytest.mark.parametrize("segmentation", [[[1, 2, 3, 4]], {"size": [3]}, [["a"] * 6], 7])
def test_what_is_no_mask_is_refused(segmentation):
    with pytest.raises(ValueError, match="mask"):
        read_mask(segmentation)


def test_labels_of_both_kinds(tmp_path):
    write_labels(tmp_path / "gray.png", [(3, 4, 10, 5)], gray=True)
    assert label_boxes(read_labels(tmp_path / "gray.png")) == {1: (3, 4, 13, 9)}
    write_labels(tmp_path / "two.png", [(3, 4, 10, 5), (20, 4, 1, 1)])
    assert label_boxes(read_labels(tmp_path / "two.png")) == {1: (3, 4, 13, 9), 2: (20, 4, 21, 5)}
    write_labels(tmp_path / "void.png", [(0, 0, 4, 4)] * 255, (4, 4))
    assert not read_labels(tmp_path / "void.png").any()
    write_image(tmp_path / "photo.png")
    with pytest.raises(ValueError, match=r"photo\.png is a color image"):
        read_labels(tmp_path / "photo.png")


# --- ImageNet


@pytest.fixture
def vid(tmp_path):
    root = tmp_path / "ILSVRC2015"
    shutil.copytree(GOLDEN / "Annotations", root / "Annotations")
    frames, _ = read(read_vid, root)
    for frame in frames:
        write_image(frame.image, frame.number, frame.size)
    return tmp_path


def test_vid_scripts_write_pysots_files(vid, monkeypatch):
    assert run_script("vid/parse_vid.py", cwd=vid, monkeypatch=monkeypatch) == 0
    assert (vid / "vid.json").read_text() == (GOLDEN / "vid.json").read_text()
    assert run_script("vid/gen_json.py", cwd=vid, monkeypatch=monkeypatch) == 0
    assert (vid / "val.json").read_text() == (GOLDEN / "val.json").read_text()
    found, expected = (json.loads((r / "train.json").read_text()) for r in (vid, GOLDEN))
    # PySOT keeps the last run of consecutive frames alone; ours keeps each
    runs = found["a/ILSVRC2015_train_00000000"]["02"]
    assert sorted(runs) == ["000000", "000001", "000003", "000004"]
    assert runs.pop("000000") == [50, 50, 120, 130] and runs.pop("000001")
    assert found == expected
    assert run_script("vid/par_crop.py", 511, 2, cwd=vid, monkeypatch=monkeypatch) == 0
    listed = (GOLDEN / "crop_files.txt").read_text().split()
    assert [f"crop511/{name}" for name in files(vid / "crop511")] == sorted(listed)


def test_vid_prepares_in_one_step(vid, monkeypatch):
    arguments = ["--root", "ILSVRC2015", "--output", "out", "--workers", 1]
    assert run_script("vid/prepare.py", *arguments, cwd=vid, monkeypatch=monkeypatch) == 0
    notes = read_annotations(vid / "out" / "train.json")
    assert notes.videos == ("a/ILSVRC2015_train_00000000", "a/ILSVRC2015_train_00000001")
    assert notes.category_names == ("n02084071",)
    assert not list((vid / "out" / "crop511").rglob("*.z.jpg"))


def test_a_bad_file_is_counted_and_fails_the_run_at_its_end(vid, monkeypatch, capsys):
    bad = next((vid / "ILSVRC2015").rglob("*.xml"))
    bad.write_text("<annotation>")
    next((vid / "ILSVRC2015").rglob("*.JPEG")).write_bytes(b"")
    arguments = ["--root", "ILSVRC2015", "--output", "out", "--workers", 1, "--split", "train"]
    code = run_script("vid/prepare.py", *arguments, "--check", cwd=vid, monkeypatch=monkeypatch)
    assert code == 1 and not (vid / "out" / "crop511").exists()
    assert run_script("vid/prepare.py", *arguments, cwd=vid, monkeypatch=monkeypatch) == 1
    report = (vid / "out" / "problems.txt").read_text()
    assert "unreadable annotation" in report and bad.name in report
    assert (vid / "out" / "train.json").is_file()
    assert "unreadable annotation: 1" in capsys.readouterr().out


def test_runs_of_one_frame_are_left_out_and_track_numbers_may_be_large():
    seen = {61: (0, 1, 2, 5, 6, 8), 2: (3,)}
    box = [0, 0, 1, 1]
    regions = [{t: box for t, at in seen.items() if n in at} for n in range(9)]
    video = keep_runs(Sequence("v", [Path()] * 9, regions))
    kept = [(f.number, track) for f in video.frames() for track in f.boxes]
    assert kept == [(0, 61), (1, 61), (2, 61), (5, 61), (6, 61)]


XML = """<annotation><filename>{name}</filename>
<size><width>80</width><height>60</height></size>{objects}</annotation>"""
OBJECT = """<object><name>{kind}</name><bndbox><xmin>{0}</xmin><xmax>{2}</xmax><ymin>{1}</ymin>
<ymax>{3}</ymax></bndbox></object>"""


def test_det_has_a_level_more_in_its_first_part(tmp_path, monkeypatch):
    for place, video in (("a/n01", "x1"), ("b", "x2"), ("i", "x3")):
        objects = OBJECT.format(5, 6, 30, 40, kind="n01") + OBJECT.format(5, 6, 5, 40, kind="n02")
        objects += OBJECT.format(1, 2, 9, 9, kind="n03")
        path = tmp_path / "ILSVRC/Annotations/DET/train" / place / f"{video}.xml"
        write_text(path, XML.format(name=video, objects=objects))
        write_image(tmp_path / "ILSVRC/Data/DET/train" / place / f"{video}.JPEG")
    frames, _ = read(read_det, tmp_path / "ILSVRC")
    assert [frame.video for frame in frames] == ["a/x1", "b/x2", "i/x3"]
    assert frames[0].boxes == {0: (5, 6, 30, 40), 2: (1, 2, 9, 9)}  # the gap stays
    assert run_script("det/par_crop.py", 511, 1, cwd=tmp_path, monkeypatch=monkeypatch) == 0
    assert (tmp_path / "crop511/a/x1/000000.02.z.jpg").is_file()
    assert run_script("det/gen_json.py", cwd=tmp_path, monkeypatch=monkeypatch) == 0
    assert list(json.loads((tmp_path / "train.json").read_text())) == ["a/x1", "b/x2"]
    assert json.loads((tmp_path / "val.json").read_text()) == {
        "i/x3": {"00": {"000000": [5, 6, 30, 40]}, "02": {"000000": [1, 2, 9, 9]}}
    }


# --- names from annotations


def prepare(*argv):
    """Run the command in this process; returns its errors."""
    try:
        prepare_main([*map(str, argv), "--workers", "1"])
    except (RunFailed, ValueError) as error:
        return str(error)
    return ""


def digest(root):
    return {name: (root / name).read_bytes() for name in files(root)}


def own_coco(root, *names, ids=None):
    """A file in COCO's format with a box of its own in each image; images are one or two."""
    images = [{"id": (ids or names)[i], "file_name": name} for i, name in enumerate(names)]
    notes = [
        {"id": i, "image_id": image["id"], "bbox": [10 + i, 10, 20, 20]}
        for i, image in enumerate(images)
    ]
    write_text(root / "coco.json", json.dumps({"images": images, "annotations": notes}))
    return root / "coco.json"


def own_csv(root, *videos):
    rows = [("video", "frame", "image", "x", "y", "w", "h")]
    rows += [(video, 0, "0.jpg", 10 + i, 10, 20, 20) for i, video in enumerate(videos)]
    with open(root / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root / "table.csv"


@pytest.mark.parametrize("write", [own_coco, own_csv])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["{root}/0.jpg", "{root}/1.jpg"], None),
        (["../data/0.jpg", "../../up/data/1.jpg"], ["data/0", "up/data/1"]),
        (["0.jpg", "0.png"], ["0", "0~2"]),
        (["0.jpg", "./0.jpg"], ["0", "0~2"]),
        (["0.jpg", "sub\\0.jpg"], ["0", "sub/0"]),
        (["Sub/0.jpg", "sub/0.jpg"], ["Sub/0", "sub/0~2"]),
    ],
)
def test_names_stay_below_the_output_and_apart(tmp_path, capsys, write, names, expected):
    root, out = tmp_path / "up" / "data", tmp_path / "up" / "out"
    for name in ("0.jpg", "1.jpg", "0.png", "sub/0.jpg", "Sub/0.jpg"):
        write_image(root / name)
    names = [name.format(root=root) for name in names]
    if write is own_csv:  # whose videos are named as they are
        names = [names[0].rpartition(".")[0], names[1].removesuffix("jpg").removesuffix("png")]
    source, before = write(root, *names), digest(tmp_path)
    assert prepare("own", "--root", source, "--output", out, "--check") == ""
    assert "renamed video" in (out / "problems.txt").read_text()
    assert prepare("own", "--root", source, "--output", out) == ""
    assert {k: v for k, v in digest(tmp_path).items() if not k.startswith("up/out/")} == before
    boxes = json.loads((out / "train.json").read_text())
    assert len(boxes) == 2 and {b["00"]["000000"][0] for b in boxes.values()} == {10, 11}
    assert expected in (None, sorted(video.removeprefix("./") for video in boxes))
    assert len(list((out / "crop511").rglob("*.x.jpg"))) == 2
    assert all((out / "crop511" / video / "000000.00.x.jpg").is_file() for video in boxes)


def test_names_of_readers_cannot_leave_the_output(tmp_path):
    for video in ("a", "../b"):
        write_image(tmp_path / "got" / "train" / video / "00000001.jpg")
        write_text(tmp_path / "got" / "train" / video / "groundtruth.txt", "1,2,30,40")
    write_text(tmp_path / "got" / "train" / "list.txt", "a\n../b\na\n")
    frames, log = read(tracking.read_got10k, tmp_path / "got", "train")
    assert [frame.video for frame in frames] == ["a", "b"] and kinds(log, "warning") == [
        "renamed video"
    ]
    row = ("AAB", 3000, "../../1", "bird", 0, "present", 0.25, 0.5, 0.1, 0.3)
    with open(tmp_path / "got" / "s.csv", "w", newline="") as file:
        csv.writer(file).writerow(row)
    (tmp_path / "got" / "s").mkdir()
    write_image(tmp_path / "1" / "AAB_3000_.." / ".." / "1_0.jpg")
    frames, log = read(tracking.read_youtube_bb, tmp_path / "got", "s")
    assert [frame.video for frame in frames] == ["./s/1/AAB"]
    assert kinds(log, "warning") == ["renamed video"]


def test_a_video_named_as_a_crop_is_another_folder(tmp_path):
    write_image(tmp_path / "0.jpg")
    source = own_csv(tmp_path, "v", "v/000000.00.x.jpg", "v/000000.00.X.JPG/a")
    assert prepare("own", "--root", source, "--output", tmp_path / "out") == ""
    assert files(tmp_path / "out" / "crop511") == [
        f"v/{name}000000.00.x.jpg" for name in ("000000.00.X.JPG_/a/", "", "000000.00.x.jpg_/")
    ]


def test_a_frame_of_two_images_is_named(tmp_path):
    for name in ("0", "1", "a"):
        write_image(tmp_path / f"{name}.jpg")
    rows = ["video,frame,image,x,y,w,h,track", "v,0,0.jpg,1,2,3,4,0", "v,0,1.jpg,1,2,3,4,0"]
    rows += ["v,0,a.jpg,1,2,3,4,1", "v,-1,0.jpg,1,2,3,4,0", f"v,{10**30},0.jpg,1,2,3,4,0"]
    write_text(tmp_path / "t.csv", "\n".join(rows))
    frames, log = own(tmp_path / "t.csv")
    assert [(frame.image.name, *frame.boxes) for frame in frames] == [("0.jpg", 0), ("a.jpg", 1)]
    kind = "number of a frame or track out of range"
    assert kinds(log) == [kind, "two images of one frame", kind]


def test_numbers_and_ids_are_never_floats(tmp_path):
    big = 2**53
    source = own_coco(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg", ids=[big, big + 1, "7", 7])
    frames, log = own(source)
    assert not log and [frame.boxes[0][0] for frame in frames] == [10, 11, 12, 13]
    rows = ["video,frame,image,x,y,w,h", f"v,{big},0.jpg,1,2,3,4", f"v,{big + 1}.0,1.jpg,1,2,3,4"]
    write_text(tmp_path / "t.csv", "\n".join(rows))
    frames, log = own(tmp_path / "t.csv")
    assert not log and [frame.number for frame in frames] == [big, big + 1]


@pytest.mark.parametrize("place", ["crop511", "crop511/v", "crop511/v/000000.00.x.jpg"])
def test_links_out_of_the_output_are_refused(tmp_path, place):
    write_image(tmp_path / "0.jpg")
    source, link = own_csv(tmp_path, "v"), tmp_path / "out" / place
    (tmp_path / "theirs").mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "theirs")
    for more in (["--check"], []):
        error = prepare("own", "--root", source, "--output", tmp_path / "out", *more)
        assert error.startswith(f"{link} is a link")
    assert not list((tmp_path / "theirs").iterdir())


def test_crops_are_not_written_by_unsafe_names(frames, tmp_path):
    for name in ("../v", "/v", "a\0b"):
        with pytest.raises(ValueError, match="cannot name a folder of crops"):
            crop([replace(frames[0], video=name)], tmp_path / "out")


def test_videos_to_test_on_have_names_of_their_own(tmp_path):
    write_image(tmp_path / "0.jpg")
    source = own_csv(tmp_path, "a/b", "a-b", "c")
    argv = ["own", "--root", source, "--output", tmp_path / "out"]
    assert prepare(*argv, "--test-videos", "a/b", "a-b") == ""
    records = json.loads((tmp_path / "out" / "out.json").read_text())
    assert {name: record["init_rect"][0] for name, record in records.items()} == {
        "a-b": 11,
        "a-b~2": 10,
    }


# --- what is left of earlier runs


def csv_of_frames(root, videos="ab", frames=3, tracks=(0,), shift=0):
    rows = ["video,frame,image,x,y,w,h,track"]
    rows += [
        f"{video},{n},{n}.jpg,{10 + n + shift},10,20,20,{track}"
        for video in videos
        for n in range(frames)
        for track in tracks
    ]
    write_text(root / "t.csv", "\n".join(rows))


@pytest.fixture
def images(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"{number}.jpg", number)
    csv_of_frames(tmp_path)
    return ["own", "--root", tmp_path / "t.csv", "--output"]


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ((), {}),
        (("--every", "2"), {}),
        (("--test-videos", "b"), {}),
        (("--template-crops",), {}),
        ((), {"videos": "a"}),
        ((), {"frames": 2}),
        ((), {"tracks": (1,)}),
        ((), {"shift": 3}),
        (("--plain-jpeg",), {"tracks": (0, 1), "videos": "bc"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("killed", [False, True])
def test_a_set_holds_nothing_of_earlier_runs(
    images, tmp_path, monkeypatch, options, change, killed
):
    first = ("--template-crops", *(("--every", "2") if "--plain-jpeg" in options else ()))
    csv_of_frames(tmp_path, **change)
    assert prepare(*images, tmp_path / "fresh", *options) == ""
    csv_of_frames(tmp_path)
    with monkeypatch.context() as patch:
        if killed:  # after a crop that is not noted as done
            patch.setattr("pysot.datasets.prepare.write_crops", stopping(write_crops, 4))
        with suppress(KeyboardInterrupt):
            assert prepare(*images, tmp_path / "out", *first) == ""
    csv_of_frames(tmp_path, **change)
    assert prepare(*images, tmp_path / "out", *options) == ""
    for name in ("out", "fresh"):  # the benchmark
        (tmp_path / name / f"{name}.json").unlink(missing_ok=True)
    assert digest(tmp_path / "out") == digest(tmp_path / "fresh")


def stopping(function, calls):
    """The function, which is interrupted in that call."""
    left = iter(range(calls - 1))

    def stopped(*args):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*args)

    return stopped


def test_a_changed_set_is_not_stamped_before_its_end(images, tmp_path, monkeypatch):
    prepare(*images, tmp_path / "out")
    whole = digest(tmp_path / "out")
    csv_of_frames(tmp_path, shift=3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pysot.datasets.prepare.write_crops", stopping(write_crops, 4))
        prepare(*images, tmp_path / "out")
    assert not (tmp_path / "out" / "train.json").exists()
    csv_of_frames(tmp_path)  # whose crops are in part those of the other boxes now
    assert prepare(*images, tmp_path / "out") == ""
    assert digest(tmp_path / "out") == whole


def test_warnings_are_said_again_and_nothing_is_cut_again(images, tmp_path, monkeypatch):
    def warned(*args):
        args[-1].warn("doubt", args[0].image)
        return targets(*args)

    targets = prepare_module._targets
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "_targets", warned)
        assert prepare(*images, tmp_path / "out") == ""
    report = (tmp_path / "out" / "problems.txt").read_text()
    assert report.count("doubt") == 6
    monkeypatch.setattr(prepare_module, "write_crops", stopping(write_crops, 1))
    assert prepare(*images, tmp_path / "out") == ""
    assert (tmp_path / "out" / "problems.txt").read_text() == report


@pytest.mark.parametrize(
    "line", ["5", "[]", '["k", 5]', '["k", [["../v", 0, {}]], "s", true, []]', "\xff"]
)
def test_a_record_that_makes_no_sense_is_passed_over(images, tmp_path, line):
    prepare(*images, tmp_path / "out")
    whole, record = digest(tmp_path / "out"), tmp_path / "out" / ".crops.jsonl"
    record.write_bytes(record.read_bytes() + line.encode("latin-1"))
    assert prepare(*images, tmp_path / "out") == ""
    assert digest(tmp_path / "out") == whole


def test_files_of_others_are_left_alone(images, tmp_path):
    prepare(*images, tmp_path / "out")
    theirs = [tmp_path / "out/crop511" / name for name in ("b/000007.00.x.jpg", "b/me.txt", "c/d")]
    for path in theirs:
        write_text(path, "mine")
    csv_of_frames(tmp_path, videos="a")
    assert prepare(*images, tmp_path / "out") == ""
    assert all(path.read_text() == "mine" for path in theirs)
    assert len(files(tmp_path / "out" / "crop511" / "b")) == 2
    for more in (["--check"], []):
        write_text(tmp_path / "new/crop511/a/000000.00.x.jpg", "mine")
        assert "says that this tool wrote them" in prepare(*images, tmp_path / "new", *more)


def test_crops_of_other_parts_and_of_lost_images_stay(images, tmp_path):
    prepare(*images, tmp_path / "out")
    write_text(tmp_path / "2.csv", (tmp_path / "t.csv").read_text().replace("\na,", "\nc,"))
    assert prepare("own", "--root", tmp_path / "2.csv", "--output", tmp_path / "out") == ""
    assert len(files(tmp_path / "out" / "crop511" / "a")) == 3  # of the other table
    (tmp_path / "1.jpg").rename(tmp_path / "lost.jpg")
    csv_of_frames(tmp_path, frames=2, videos="a", shift=1)
    assert "problems" in prepare(*images, tmp_path / "out")
    found = files(tmp_path / "out" / "crop511" / "a")
    assert found == ["000000.00.x.jpg", "000001.00.x.jpg"]  # the second one could not be cut again


# --- COCO and YouTube-BB


def coco(folder, name="instances_val2017.json", prefix=""):
    write_image(folder / prefix / "7.jpg")
    write_image(folder / prefix / "8.jpg")
    polygon = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]
    crowd = {"size": [60, 80], "counts": [600, 300, 3900]}
    content = {
        "images": [
            {"id": 1, "file_name": "7.jpg", "width": 80, "height": 60},
            {"id": 2, "file_name": "8.jpg", "width": 80, "height": 60},
            {"id": 3, "file_name": "9.jpg", "width": 80, "height": 60},
        ],
        "annotations": [
            {"id": 5, "image_id": 1, "bbox": [10, 10, 0, 20], "category_id": 1},
            {"id": 6, "image_id": 1, "bbox": [10.5, 10, 20, 20.25], "category_id": 2,
             "segmentation": polygon},
            {"id": 7, "image_id": 1, "bbox": [10, 0, 5, 60], "iscrowd": 1, "category_id": 1,
             "segmentation": crowd},
            {"id": 8, "image_id": 2, "bbox": [1, 1, 0, 0], "category_id": 1},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }  # fmt: skip
    write_text(folder / name, json.dumps(content))
    return content


def read_coco(root, name, prefix=""):
    return read(lambda reading: coco_format.read_file(root / name, root, prefix, reading), root)


def test_coco_scripts(tmp_path, monkeypatch):
    for name in ("val2017", "train2017"):
        coco(tmp_path, f"annotations/instances_{name}.json", name)
    assert run_script("coco/gen_json.py", cwd=tmp_path, monkeypatch=monkeypatch) == 0
    assert json.loads((tmp_path / "val2017.json").read_text()) == {
        "val2017/7": {
            "01": {"000000": [10.5, 10, 30.5, 30.25]},
            "02": {"000000": [10, 0, 15, 60]},
        },
        "val2017/8": {},  # annotated, and no box has an area
    }
    assert run_script("coco/par_crop.py", 511, 1, cwd=tmp_path, monkeypatch=monkeypatch) == 0
    names = files(tmp_path / "crop511" / "train2017")
    assert names == [f"7/000000.{t}.{k}" for t in ("01", "02") for k in ("m.png", "x.jpg", "z.jpg")]


def test_coco_masks_and_categories(tmp_path):
    coco(tmp_path)
    frames, log = read_coco(tmp_path, "instances_val2017.json", "v")
    assert frames[0].categories == {1: "dog", 2: "cat"}
    crowd = frames[0].masks[2].draw((60, 80))
    assert crowd[:, 10:15].all() and crowd.sum() == 300
    assert not kinds(log) and kinds(log, "note") == ["box without area"] * 2


def test_entries_of_coco_that_make_no_sense_are_named(tmp_path):
    content = coco(tmp_path)
    content["annotations"] += [
        {"id": 9, "image_id": 44, "bbox": [1, 1, 2, 2]},
        {"id": 10, "image_id": 3, "bbox": [1, 1, 2]},
    ]
    write_text(tmp_path / "bad.json", json.dumps(content))
    _, log = read_coco(tmp_path, "bad.json")
    assert kinds(log) == [
        "unusable annotation",
        "annotations of an image that is not listed",
    ]
    write_text(tmp_path / "no.json", "[]")
    with pytest.raises(ValueError, match=r"no\.json: expected COCO's format"):
        read_coco(tmp_path, "no.json")


VOC_OBJECT = OBJECT.format(5, 6, 30, 40, kind="cat")


@pytest.mark.parametrize(
    ("old", "new", "boxes", "kind", "place"),
    [
        ("<xmin>5<", "<xmin>five<", 1, "unusable annotation", ", object 0"),
        ("<xmin>5<", "<xmin>nan<", 1, "unusable annotation", ", object 0"),
        ("<ymax>40<", "<ymax>1e999<", 1, "unusable annotation", ", object 0"),
        ("<xmin>5</xmin>", "", 1, "unusable annotation", ", object 0"),
        ("<name>cat</name>", "", 2, "unusable category", ", object 0"),
        ("<width>80<", "<width>wide<", 2, "unusable size of an image", ""),
        ("<width>80<", "<width>80.0<", 2, None, ""),
        ("<width>80</width>", "", 2, None, ""),
    ],
)
def test_damage_in_voc_leaves_the_other_boxes(tmp_path, old, new, boxes, kind, place):
    write_image(tmp_path / "a.jpg")
    other = OBJECT.format(1, 2, 9, 9, kind="dog")
    text = XML.format(name="a.jpg", objects=VOC_OBJECT + other)
    write_text(tmp_path / "a.xml", text.replace(old, new, 1))
    (frame,), log = own(tmp_path)
    assert len(frame.boxes) == boxes and frame.boxes[1] == (1, 2, 9, 9)
    assert kinds(log, "error", "warning") == ([kind] if kind else [])
    assert not kind or log[0].where == f"{tmp_path / 'a.xml'}{place}"


@pytest.mark.parametrize(
    ("changes", "tracks"),
    [
        ({"trackid": "1.5"}, [2**53]),
        ({"trackid": "9007199254740993"}, [2**53, 2**53 + 1]),  # floats of one value
        ({"trackid": f"{2**53}"}, [2**53]),  # the first one stays
        ({"occluded": "x"}, [2**53]),
        ({"name": None}, [1, 2**53]),
        ({"occluded": None}, [1, 2**53]),
    ],
)
def test_damage_in_vid_leaves_the_other_boxes(vid, changes, tracks):
    path = min((vid / "ILSVRC2015" / "Annotations").rglob("*.xml"))
    write_text(path, XML.format(name="000000", objects=""))
    fields = {"name": "n1", "trackid": "1", "occluded": "0", **changes}
    objects = ""
    for values in ({**fields, "name": "n1", "trackid": f"{2**53}", "occluded": "0"}, fields):
        inner = "".join(f"<{k}>{v}</{k}>" for k, v in values.items() if v is not None)
        objects += VOC_OBJECT.replace("<name>cat</name>", inner)
    write_text(path, XML.format(name="000000", objects=objects))
    frames, log = read(read_vid, vid / "ILSVRC2015")
    assert sorted(frames[0].boxes) == tracks
    where = [issue.where for issue in log]
    assert where == ([] if len(tracks) == 2 else [f"{path}, object 1"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"videos": {"v": {"objects": {"1": {"category": "ape"}}}}}, {1: "ape"}),
        ({"videos": {"v": {"objects": {"x": {"category": "ape"}}}}}, {}),
        ({"videos": {"v": {"objects": {"1": "ape"}}}}, {}),
        ({"videos": {"v": {"objects": ["ape"]}}}, {}),
        ({"videos": {"v": 5}}, {}),
        ({"videos": ["v"]}, None),
        (["v"], None),
        ("{", None),
    ],
)
def test_damage_in_the_categories_of_youtube_vos_leaves_the_masks(tmp_path, content, expected):
    write_image(tmp_path / "train/JPEGImages/v/00000.jpg")
    write_labels(tmp_path / "train/Annotations/v/00000.png", [(1, 2, 9, 9)])
    text = content if content == "{" else json.dumps(content)
    write_text(tmp_path / "train/meta.json", text)
    (frame,), log = read(davis.read_youtube_vos, tmp_path, "train")
    assert frame.categories == (expected or {})
    assert kinds(log, "warning") == (["unusable category"] if expected == {} else [])
    assert kinds(log) == (["unusable annotation"] if expected is None else [])


@pytest.mark.parametrize(
    "row",
    [
        "v,x,0.jpg,1,2,3,4,0",
        "v,1.5,0.jpg,1,2,3,4,0",
        "v,1_0,0.jpg,1,2,3,4,0",
        "v,,0.jpg,1,2,3,4,0",
        "v,1,0.jpg,1,2,3,inf,0",
        "v,1,0.jpg,1,2,3,1_0,0",
        "v,1,0.jpg,1,2,3",
        "v,1,,1,2,3,4,0",
        ",1,0.jpg,1,2,3,4,0",
        "v,1,0.jpg,1,2,3,4,0,more",
        "v,1,0.jpg,1,2,3,4,cat",
        "v,1,0.jpg,1,2,3,4,-1",
        "v,1,0.jpg,1,2,3,4,0.5",
        f"v,{'9' * 5000},0.jpg,1,2,3,4,0",
    ],
    ids=lambda row: row[:30],
)
def test_unusable_lines_of_a_table_are_named(tmp_path, row):
    text = f"video,frame,image,x,y,w,h,track\nv,0,0.jpg,1,2,3,4,7.0\n\n{row}\n"
    write_text(tmp_path / "t.csv", text)
    (frame,), log = own(tmp_path / "t.csv")
    assert frame.boxes == {7: (1, 2, 4, 6)}
    assert [(issue.kind, issue.where) for issue in log] == [
        ("unusable line", f"{tmp_path / 't.csv'}, line 4")
    ]


@pytest.mark.parametrize(
    "data", [b"video,frame\xff", "video".encode("utf-16"), b'a,"' + b"b" * 200_000]
)
def test_what_is_no_table_is_one_error(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(ValueError, match=r"t\.csv: expected a CSV file in UTF-8"):
        own(tmp_path / "t.csv")


GOOD = {"id": 5, "image_id": 1, "bbox": [10, 10, 20, 20]}
POLYGON = [[10, 10, 30, 10, 30, 30]]


@pytest.mark.parametrize(
    ("changes", "masks", "categories", "kind"),
    [
        ({}, 0, 0, None),
        ({"segmentation": POLYGON, "category_id": 1}, 1, 1, None),
        ({"segmentation": [], "category_id": None}, 0, 0, None),
        ({"segmentation": [[]]}, 0, 0, "unusable mask"),
        ({"segmentation": [[1, 2, 3, 4]]}, 0, 0, "unusable mask"),
        ({"segmentation": [*POLYGON, [1, 2, 3, 4]]}, 1, 0, None),  # two points enclose nothing
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, 0, 0, "unusable mask"),
        ({"segmentation": [[1e300, 1, 2, 3, 1e308, 5]]}, 0, 0, "unusable mask"),
        ({"segmentation": [[float("nan"), 1, 2, 3, 4, 5]]}, 0, 0, "unusable mask"),
        ({"segmentation": [[10**400, 1, 2, 3, 4, 5]]}, 0, 0, "unusable mask"),
        ({"segmentation": "text"}, 0, 0, "unusable mask"),
        ({"segmentation": 7}, 0, 0, "unusable mask"),
        ({"segmentation": {"size": ["x"], "counts": [1]}}, 0, 0, "unusable mask"),
        ({"segmentation": {"size": [1e9, 1e9], "counts": "0000"}}, 0, 0, "unusable mask"),
        ({"segmentation": {"size": [60, 80], "counts": "o" * 99999}}, 0, 0, "unusable mask"),
        ({"segmentation": {"size": [60.0, 80.0], "counts": [4800]}}, 1, 0, None),
        ({"segmentation": {"size": [60, 80], "counts": [4800.5]}}, 0, 0, "unusable mask"),
        ({"segmentation": {"size": [60, 80], "counts": "é"}}, 0, 0, "unusable mask"),
        ({"category_id": 9}, 0, 0, "unusable category"),
        ({"category_id": [1]}, 0, 0, "unusable category"),
        ({"category_id": {}}, 0, 0, "unusable category"),
        ({"category_id": True}, 0, 0, "unusable category"),
        ({"category_id": "1"}, 0, 0, "unusable category"),
        ({"category_id": 1.0}, 0, 1, None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_damage_beside_a_good_box_of_coco_leaves_the_box(
    tmp_path, changes, masks, categories, kind
):
    content = {
        "images": [{"id": 1, "file_name": "0.jpg", "width": 80.0}],
        "annotations": [{"id": 4, "image_id": 1, "bbox": [1, 1, 9, 9]}, {**GOOD, **changes}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    write_text(tmp_path / "a.json", json.dumps(content))
    (frame,), log = read_coco(tmp_path, "a.json")
    assert frame.boxes[1] == (10, 10, 30, 30) and frame.size == (80, 0)
    assert (len(frame.masks), len(frame.categories)) == (masks, categories)
    assert kinds(log, "error", "warning") == ([kind] if kind else [])
    assert not kind or log[0].where == f"{tmp_path / 'a.json'}: annotations[1], id 5"


@pytest.mark.parametrize(
    ("key", "entry", "kind", "where"),
    [
        ("images", 5, "unusable entry", "images[1]"),
        ("images", {"id": [1], "file_name": "a.jpg"}, "unusable entry", "images[1], id [1]"),
        ("images", {"file_name": "a.jpg"}, "unusable entry", "images[1]"),
        ("images", {"id": 2, "file_name": ""}, "image without a file name", "images[1], id 2"),
        ("images", {"id": 2, "file_name": "."}, "image without a file name", "images[1], id 2"),
        ("images", {"id": 2, "file_name": ".."}, "image without a file name", "images[1], id 2"),
        ("images", {"id": 2, "file_name": 7}, "image without a file name", "images[1], id 2"),
        (
            "images",
            {"id": 2, "file_name": "1.jpg", "width": "x"},
            "unusable size of an image",
            None,
        ),
        (
            "images",
            {"id": 2, "file_name": "1.jpg", "height": [1]},
            "unusable size of an image",
            None,
        ),
        ("images", {"id": 1, "file_name": "1.jpg"}, "two images of one id", "images[1], id 1"),
        ("annotations", 5, "unusable entry", "annotations[2]"),
        ("annotations", {"bbox": [1, 1, 5, 5]}, "unusable entry", "annotations[2]"),
        (
            "annotations",
            {"image_id": [1], "bbox": [1, 1, 5, 5]},
            "unusable entry",
            "annotations[2]",
        ),
        (
            "annotations",
            {"image_id": 1.5, "bbox": [1, 1, 5, 5]},
            "unusable entry",
            "annotations[2]",
        ),
        (
            "annotations",
            {"image_id": True, "bbox": [1, 1, 5, 5]},
            "unusable entry",
            "annotations[2]",
        ),
        ("annotations", {"image_id": float(2**60)}, "unusable entry", "annotations[2]"),
        ("annotations", {"image_id": 1}, "unusable annotation", "annotations[2]"),
        *(
            ("annotations", {"image_id": 1, "bbox": box}, "unusable annotation", "annotations[2]")
            for box in ([1, 2, 3], ["a", 1, 5, 5], "1234", {"x": 1}, [1, 1, True, 5], None)
        ),
        ("annotations", {"image_id": 1, "bbox": [1, 1, 1e999, 5]}, "unusable annotation", None),
        ("annotations", {"image_id": 1, "bbox": [1, 1, 10**400, 5]}, "unusable annotation", None),
        ("categories", {"x": 1}, "unusable entry", "categories[1]"),
        ("categories", {"id": 1, "name": "cow"}, "two categories of one id", "categories[1], id 1"),
        ("categories", {"id": {}, "name": "cat"}, "unusable entry", "categories[1], id {}"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_unusable_entries_of_coco_are_counted_and_named(tmp_path, key, entry, kind, where):
    content = {
        "images": [{"id": 1, "file_name": "0.jpg"}],
        "annotations": [GOOD, {**GOOD, "image_id": 2}] if key == "images" else [GOOD, GOOD],
        "categories": [{"id": 1, "name": "cat"}],
    }
    content[key].append(entry)
    write_text(tmp_path / "a.json", json.dumps(content))
    frames, log = read_coco(tmp_path, "a.json")
    assert kind == "two images of one id" or frames[0].boxes[0] == (10, 10, 30, 30)
    assert kinds(log, "error", "warning")[0] == kind
    assert where is None or log[0].where == f"{tmp_path / 'a.json'}: {where}"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images": ' + "9" * 5000 + "}", "\ud800", "{"])
def test_what_is_no_json_is_one_error(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"a\.json is not a JSON file"):
        read_coco(tmp_path, "a.json")


def test_boxes_of_youtube_bb_are_pixels(tmp_path, monkeypatch):
    rows = [
        ("AAB", 3000, 1, "bird", 0, "present", 0.25, 0.5, 0.1, 0.3),
        ("AAB", 4000, 1, "bird", 0, "absent", -1, -1, -1, -1),
        ("AAB", 5000, 1, "bird", 0, "present", 0.25, 0.5, 0.1, 0.3),  # not downloaded
        ("AAC", 1000, 1, "bird", 0, "present", "x", 0.5, 0.1, 0.3),
    ]
    for subset in ("yt_bb_detection_validation", "yt_bb_detection_train"):
        with open(tmp_path / f"{subset}.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows)
        write_image(tmp_path / subset / "1" / "AAB_3000_1_0.jpg")
        write_image(tmp_path / subset / "1" / "AAC_1000_1_0.jpg")
    (frame,), log = read(tracking.read_youtube_bb, tmp_path, "yt_bb_detection_train")
    assert (frame.video, frame.number) == ("./yt_bb_detection_train/1/AAB", 3)
    assert frame.boxes == {0: pytest.approx((20, 6, 40, 18))}
    assert kinds(log) == ["unusable line"]
    assert kinds(log, "note") == ["annotated frames without an image"]
    assert run_script("yt_bb/par_crop.py", 511, 1, cwd=tmp_path, monkeypatch=monkeypatch) == 1
    run_script("yt_bb/gen_json.py", cwd=tmp_path, monkeypatch=monkeypatch)
    assert list(json.loads((tmp_path / "val.json").read_text())) == [
        "./yt_bb_detection_validation/1/AAB"
    ]


# --- tracking and segmentation


def test_got10k_leaves_out_absent_frames(tmp_path):
    video = tmp_path / "train" / "GOT-10k_Train_000001"
    for number in range(1, 5):
        write_image(video / f"{number:08d}.jpg")
    write_text(video / "groundtruth.txt", "1,2,30,40\n2,2,30,40\n3.5,2,30,40\n4,2,30,40\n")
    write_text(video / "absence.label", "0\n1\n0\n0\n")
    write_text(video / "meta_info.ini", "[METAINFO]\nobject_class: seal\n")
    write_text(tmp_path / "train" / "list.txt", f"{video.name}\n")
    frames, _ = read(tracking.read_got10k, tmp_path, "train")
    assert [(f.number, f.image.name) for f in frames] == [
        (0, "00000001.jpg"),
        (2, "00000003.jpg"),
        (3, "00000004.jpg"),
    ]
    assert frames[1].boxes == {0: (3.5, 2, 33.5, 42)} and frames[1].categories == {0: "seal"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["airplane/airplane-10"]),  # those to train on
        (["--split", "test"], ["airplane/airplane-1"]),
        (["--split", "all"], ["airplane/airplane-1", "airplane/airplane-10"]),
    ],
)
def test_lasot_comes_by_split(tmp_path, monkeypatch, options, expected):
    for number in (1, 10):
        video = tmp_path / "airplane" / f"airplane-{number}"
        for frame in (1, 2):
            write_image(video / "img" / f"{frame:08d}.jpg")
        write_text(video / "groundtruth.txt", "1,2,30,40\n2,2,30,40\n")
        write_text(video / "full_occlusion.txt", "0,0")
        write_text(video / "out_of_view.txt", "0,0")
    argv = ["--root", tmp_path, "--output", tmp_path / "out", "--workers", 1, *options]
    assert run_script("lasot/prepare.py", *argv, cwd=tmp_path, monkeypatch=monkeypatch) == 0
    assert list(json.loads((tmp_path / "out" / "train.json").read_text())) == expected


def test_lasot_and_trackingnet(tmp_path):
    video = tmp_path / "lasot" / "bird" / "bird-2"
    for number in range(1, 4):
        write_image(video / "img" / f"{number:08d}.jpg")
    write_text(video / "groundtruth.txt", "1,2,30,40\n2,2,30,40\n3,2,30,40\n")
    write_text(video / "full_occlusion.txt", "0,1,0")
    write_text(video / "out_of_view.txt", "0,0,1")
    frames, _ = read(tracking.read_lasot, tmp_path / "lasot", "test")
    assert [(f.video, f.number, f.categories) for f in frames] == [("bird/bird-2", 0, {0: "bird"})]
    assert read(tracking.read_lasot, tmp_path / "lasot", "train")[0] == []
    for number in (0, 2, 10):
        write_image(tmp_path / "net" / "TRAIN_3" / "frames" / "abc" / f"{number}.jpg")
    write_text(tmp_path / "net" / "TRAIN_3" / "anno" / "abc.txt", "1,2,3,4\n" * 11)
    frames, log = read(tracking.read_trackingnet, tmp_path / "net", ["TRAIN_3", "TRAIN_4"])
    assert [f.image.name for f in frames] == ["0.jpg", "2.jpg", "10.jpg"]  # not by letter
    assert [f.number for f in frames] == [0, 2, 10]
    assert frames[0].video == "TRAIN_3/abc"
    assert kinds(log) == ["boxes and images differ in number"]
    with pytest.raises(FileNotFoundError, match="TRAIN_0"):
        read(tracking.read_trackingnet, tmp_path / "net", ["TRAIN_0"])


def test_youtube_vos_and_davis(tmp_path):
    for number in (0, 1, 5):
        write_image(tmp_path / "train/JPEGImages/003/" / f"{number:05d}.jpg")
    for number in (0, 5):
        write_labels(tmp_path / "train/Annotations/003" / f"{number:05d}.png", [(1, 2, 9, 9)])
    write_text(
        tmp_path / "train/meta.json",
        json.dumps({"videos": {"003": {"objects": {"1": {"category": "ape"}}}}}),
    )
    frames, _ = read(davis.read_youtube_vos, tmp_path, "train")
    assert [(f.number, f.labels.name, f.categories) for f in frames] == [
        (0, "00000.png", {1: "ape"}),
        (5, "00005.png", {1: "ape"}),
    ]
    for name in ("dog", "cow"):
        write_image(tmp_path / "JPEGImages/480p" / name / "00000.jpg")
        write_labels(tmp_path / "Annotations/480p" / name / "00000.png", [(1, 2, 9, 9)])
    write_labels(tmp_path / "Annotations/480p/dog/00001.png", [(1, 2, 9, 9)])
    line = "/JPEGImages/480p/dog/00000.jpg /Annotations/480p/dog/00000.png\n"
    write_text(tmp_path / "ImageSets/2016/train.txt", line)
    write_text(tmp_path / "ImageSets/2017/val.txt", "cow\n")
    frames, log = read(davis.read, tmp_path, "2016", "train")
    assert [f.video for f in frames] == ["dog"] and kinds(log) == ["mask without an image"]
    frames, _ = read(davis.read, tmp_path, "2017", "val")
    assert [f.video for f in frames] == ["cow"]
    frames, log = read(davis.read, tmp_path, "2017", "all")
    assert [f.video for f in frames] == ["cow", "dog"] and kinds(log) == ["mask without an image"]


# --- one's own data


def own(root, masks=None):
    return read(read_any, root, masks)


def test_own_videos_with_boxes(tmp_path):
    for number in range(3):
        write_image(tmp_path / "data" / "cup" / f"frame_{number}.png")
        write_image(tmp_path / "data" / "day 1" / "pen" / "img" / f"{number}.jpg")
    write_text(tmp_path / "data/cup/groundtruth.txt", "1 2 30 40\nnan nan nan nan\n2\t2\t30\t40\n")
    write_text(tmp_path / "data/day 1/pen/groundtruth_rect.txt", "1,2,3,4\n5,6,7\n9,8,7,6\n")
    frames, log = own(tmp_path / "data")
    assert [(f.video, f.number) for f in frames] == [
        ("cup", 0), ("cup", 2), ("day 1/pen", 0), ("day 1/pen", 2)
    ]  # fmt: skip
    assert [(issue.kind, issue.text) for issue in log] == [("unusable line", "5,6,7")]
    frames, _ = own(tmp_path / "data" / "cup")  # a single video
    assert {frame.video for frame in frames} == {"cup"}


def test_own_videos_with_masks(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "frames" / name / "0.jpg")
        write_labels(tmp_path / "masks" / name / "0.png", [(1, 2, 9, 9)], gray=True)
    frames, _ = own(tmp_path / "frames", tmp_path / "masks")
    assert [(f.video, f.labels.parent.name) for f in frames] == [("a", "a"), ("b", "b")]
    shutil.move(tmp_path / "masks" / "a", tmp_path / "frames" / "a" / "mask")
    frames, _ = own(tmp_path / "frames")
    assert [f.video for f in frames] == ["a"]


def test_own_videos_that_are_kept_for_a_test(tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        for number in range(3):
            write_image(tmp_path / "frames" / name / f"{number}.jpg")
            boxes = [(1, 2, 9, 9), (30, 5, 8, 6)] if number else [(1, 2, 9, 9)]
            write_labels(tmp_path / "masks" / name / f"{number}.png", boxes)
    options = ["--root", "frames", "--masks", "masks", "--output", "mine", "--workers", 1]
    script = {"cwd": tmp_path, "monkeypatch": monkeypatch}
    assert run_script("own/prepare.py", *options, "--test-videos", "b", **script) == 0
    assert read_annotations(tmp_path / "mine" / "train.json").videos == ("a",)
    records = json.loads((tmp_path / "mine" / "mine.json").read_text())
    assert list(records) == ["b-1", "b-2"]
    assert records["b-2"]["gt_rect"] == [[30, 5, 8, 6]] * 2
    assert records["b-2"]["img_names"] == [
        str(tmp_path / "frames" / "b" / f"{number}.jpg") for number in (1, 2)
    ]
    assert run_script("own/prepare.py", *options, "--test-videos", "c", **script) == 2
    assert "not in frames: c" in capsys.readouterr().err


def test_own_stills(tmp_path):
    write_image(tmp_path / "voc" / "images" / "r1.jpg")
    objects = OBJECT.format(5, 6, 30, 40, kind="raccoon")
    write_text(
        tmp_path / "voc" / "annotations" / "r1.xml", XML.format(name="r1.jpg", objects=objects)
    )
    (frame,), _ = own(tmp_path / "voc")
    assert frame.video == "annotations/r1" and frame.image.is_file()
    assert frame.boxes == {0: (5, 6, 30, 40)} and frame.categories == {0: "raccoon"}
    coco(tmp_path / "coco", "all.json")
    frames, _ = own(tmp_path / "coco" / "all.json")
    assert [f.video for f in frames] == ["7", "8"] and frames[0].image.is_file()


def test_own_table(tmp_path):
    lines = ["video,frame,image,x,y,w,h,track,kind", "a,0,i/0.jpg,1,2,3,4,0,cat"]
    lines += ["a,1,i/1.jpg,1,2,3,4,0,cat", "a,0,i/0.jpg,5,6,7,8,1,", "a,x,i/0.jpg,5,6,7,8,1,"]
    write_text(tmp_path / "boxes.csv", "\n".join(lines))
    frames, log = own(tmp_path / "boxes.csv")
    assert frames[0] == Frame(
        "a", 0, tmp_path / "i/0.jpg", {0: (1, 2, 4, 6), 1: (5, 6, 12, 14)}, categories={0: "cat"}
    )
    assert kinds(log) == ["unusable line"]
    write_text(tmp_path / "short.csv", "video,frame\n")
    with pytest.raises(ValueError, match=r"short\.csv: no column image, x, y, w, h"):
        own(tmp_path / "short.csv")


def test_what_is_nothing_of_these_is_one_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    code = run_script(
        "own/prepare.py",
        "--root",
        "empty",
        "--output",
        "out",
        cwd=tmp_path,
        monkeypatch=monkeypatch,
    )
    assert code == 2
    assert "empty: found neither videos" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="nowhere"):
        own(tmp_path / "nowhere")


def test_every_second_frame(tmp_path, monkeypatch):
    for number in range(5):
        write_image(tmp_path / "cup" / f"{number}.png")
    write_text(tmp_path / "cup" / "groundtruth.txt", "1,2,30,40\n" * 5)
    options = ["--root", "cup", "--output", "out", "--workers", 1, "--every", 2]
    assert run_script("own/prepare.py", *options, cwd=tmp_path, monkeypatch=monkeypatch) == 0
    found = json.loads((tmp_path / "out" / "train.json").read_text())
    assert sorted(found["cup"]["00"]) == ["000000", "000002", "000004"]
    # the log of the frames that were done and the pack's name are no part of the annotations
    assert annotate([Frame("v", 0, Path())]).boxes == {"v": {}}


def test_problems_make_the_run_fail(tmp_path):
    from pysot.cli.prepare import finish

    log = IssueLog()
    finish(log, tmp_path / "problems.txt")
    log.note("note", "a")
    finish(log, tmp_path / "problems.txt")
    log.add("missing image", "b")
    with pytest.raises(RunFailed, match="1 problems, all named in"):
        finish(log, tmp_path / "problems.txt")
    assert (tmp_path / "problems.txt").read_text() == "missing image: b\nnote: note: a\n"


# --- pixels: orientation, depth, size, soft masks


def crop_and_check(frames, output):
    """Issues of a run and of a check, and what the run wrote."""
    annotations, log = crop(frames, output)
    checked = IssueLog()
    check_set(frames, checked)
    return annotations, log, checked


def turned_photo(path, size=(60, 40), orientation=6):
    """A photo whose object, (10, 200, 240), is stored at 4, 4, 12, 12 and to be turned."""
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    image[4:16, 4:16] = 240, 200, 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif, quality=95)


@pytest.mark.parametrize(
    ("size", "box"),
    [((60, 40), (4, 4, 16, 16)), ((40, 60), (24, 4, 36, 16)), (None, (24, 4, 36, 16))],
)
def test_the_stated_size_turns_image_and_box_alike(tmp_path, size, box):
    turned_photo(tmp_path / "a.jpg")
    frames = [Frame("v", 0, tmp_path / "a.jpg", {0: box}, size=size)]
    _, log, checked = crop_and_check(frames, tmp_path / "out")
    expected = [] if size else ["image that is turned by its EXIF orientation"]
    assert kinds(log, *LEVELS) == kinds(checked, *LEVELS) == expected
    middle = cv2.imread(str(tmp_path / "out/crop511/v/000000.00.x.jpg"))[255, 255]
    assert np.abs(middle - [10.0, 200, 240]).max() < 20


def test_an_image_of_another_size_is_named_by_run_and_check(tmp_path):
    turned_photo(tmp_path / "a.jpg")
    frames = [Frame("v", 0, tmp_path / "a.jpg", {0: (4, 4, 16, 16)}, size=(61, 40))]
    _, log, checked = crop_and_check(frames, tmp_path / "out")
    assert kinds(log) == kinds(checked) == ["image of another size"]


@pytest.mark.parametrize("stored", [True, False])
def test_the_size_of_a_mask_turns_its_image(tmp_path, stored):
    turned_photo(tmp_path / "a.jpg")
    size, box = ((60, 40), (4, 4, 12, 12)) if stored else ((40, 60), (24, 4, 12, 12))
    write_labels(tmp_path / "a.png", [box], size)
    frames = [Frame("v", 0, tmp_path / "a.jpg", labels=tmp_path / "a.png")]
    _, log, checked = crop_and_check(frames, tmp_path / "out")
    assert not log
    assert not checked
    middle = cv2.imread(str(tmp_path / "out/crop511/v/000000.01.x.jpg"))[255, 255]
    assert np.abs(middle - [10.0, 200, 240]).max() < 20


def test_a_thermal_video_is_stretched_by_its_first_image(tmp_path):
    images = [tmp_path / "images" / f"{i}.png" for i in range(3)]
    for i, image in enumerate(images):
        image.parent.mkdir(exist_ok=True)
        pixels = np.full((60, 80), 7280 + 40 * i, np.uint16)
        pixels[20:40, 30:50] = 7768 + 40 * i
        cv2.imwrite(str(image), pixels)
    video = Sequence("v", images, [{0: (30, 20, 20, 20)}] * 3)
    video.visible = [False, True, True]  # the first one counts all the same
    log = IssueLog()
    frames = list(frames_of([video], log))
    _, found, checked = crop_and_check(frames, tmp_path / "out")
    assert not found
    assert not checked
    assert kinds(log, *LEVELS) == ["images of more than 8 bits"]
    for i in (1, 2):
        middle = cv2.imread(str(tmp_path / f"out/crop511/v/{i:06d}.00.x.jpg"))[255, 255, 0]
        level = read_image(images[i], first=images[0])[30, 40, 0]
        assert abs(int(middle) - level) <= 1
        assert 212 < level < 250


def test_an_image_of_immense_size_is_one_unreadable_image(tmp_path, frames):
    content = bytearray(frames[1].image.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    frames[1].image.write_bytes(content)
    annotations, log, checked = crop_and_check(frames[:3], tmp_path / "out")
    assert kinds(log) == kinds(checked) == ["unreadable image"]
    assert "100000 x 100000 pixels" in log[0].text
    assert sorted(annotations.boxes["v0"]["00"]) == ["000000", "000002"]


def test_what_masks_hold_is_the_same_to_run_and_check(tmp_path):
    soft = cv2.GaussianBlur(np.pad(np.full((20, 30), 255.0), 20), (0, 0), 1.5).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, soft.shape, np.uint8)
    masks = {"soft": soft, "noise": noise, "inverted": np.where(soft > 99, 0, 255).astype(np.uint8)}
    frames = []
    for number, (name, mask) in enumerate(masks.items()):
        write_image(tmp_path / f"{name}.jpg", size=soft.shape[::-1])
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
        frames.append(Frame("v", number, tmp_path / f"{name}.jpg", labels=tmp_path / f"{name}.png"))
    annotations, log, checked = crop_and_check(frames, tmp_path / "out")
    assert kinds(log, *LEVELS) == kinds(checked, *LEVELS)
    assert kinds(log) == ["unreadable mask"]
    assert "has 254 values, more than objects are plausible" in log.of("error")[0].text
    assert kinds(log, "warning") == ["mask with an object in all corners"]
    assert annotations.boxes["v"]["01"]["000000"] == [20, 20, 50, 40]


def test_masks_may_be_of_any_image_format(tmp_path):
    write_image(tmp_path / "v" / "img" / "1.jpg")
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[10:30, 12:40] = 255
    (tmp_path / "v" / "mask").mkdir()
    cv2.imwrite(str(tmp_path / "v" / "mask" / "1.jpg"), mask)
    frames, log = own(tmp_path)
    assert not log
    annotations, log = crop(frames, tmp_path / "out")
    assert not log
    assert annotations.boxes["v"]["01"]["000001"] == [12, 10, 40, 30]


def test_the_size_of_run_lengths_turns_an_image(tmp_path):
    turned_photo(tmp_path / "a.jpg")
    for width, height, box in ((60, 40, (4, 4, 16, 16)), (40, 60, (24, 4, 36, 16))):
        mask = RunMask(height, width, (0, width * height))
        frames = [Frame("v", 0, tmp_path / "a.jpg", {0: box}, {0: mask})]
        _, log, checked = crop_and_check(frames, tmp_path / f"out{width}")
        assert not log
        assert not checked
        middle = cv2.imread(str(tmp_path / f"out{width}/crop511/v/000000.00.x.jpg"))[255, 255]
        assert np.abs(middle - [10.0, 200, 240]).max() < 20


def test_check_and_run_name_images_that_do_not_fit_their_video(tmp_path):
    images = [tmp_path / f"{i}.png" for i in range(4)]
    for image, low in zip(images, (7000, 7100, 30000, 0), strict=True):
        pixels = np.random.default_rng(0).integers(low, low + 200, (60, 80))
        cv2.imwrite(str(image), pixels.astype(np.uint16 if low else np.uint8))
    video = Sequence("v", images, [{0: (30, 20, 20, 20)}] * 4)
    frames = list(video.frames())
    annotations, log, checked = crop_and_check(frames, tmp_path / "out")
    for found in (log, checked):
        texts = {Path(issue.where).name: issue.text for issue in found.of("error")}
        assert sorted(texts) == ["2.png", "3.png"]
        assert "most of its values are not within" in texts["2.png"]
        assert "differ in depth" in texts["3.png"]
    assert sorted(annotations.boxes["v"]["00"]) == ["000000", "000001"]


def test_a_full_disk_names_the_record_of_jobs():
    record = prepare_module._Record(Path("/dev/full"), None, None)
    with pytest.raises(OSError, match=r"^cannot write /dev/full: No space left"), record:
        record.write("job", [], True, [])
