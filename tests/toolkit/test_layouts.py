"""What a folder holds: which files decide, what is read once, what is named instead."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from toolkit.datasets.formats import custom, davis, read_records, tracking, voc
from toolkit.datasets.reading import Reading, folders_below
from toolkit.io.images import write_labels
from toolkit.io.issues import IssueLog

XML = """<annotation><filename>{name}</filename><size><width>80</width><height>60</height></size>
<object><name>cat</name><trackid>0</trackid><occluded>0</occluded><bndbox><xmin>5</xmin>
<ymin>6</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"""
BOXES = "1,2,3,4\n2,2,3,4\n3,2,3,4\n"


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def video(name, truth="groundtruth.txt"):
    images = {f"{name}/{i:04d}.jpg": "" for i in (1, 2, 3)}
    return {**images, **({f"{name}/{truth}": BOXES} if truth else {})}


def read(reader, root, **options):
    """Videos to train on that have frames, and the log."""
    reading = Reading(root, IssueLog(), training=True)
    found = [found for found in reader(reading, **options) if len(found)]
    return found, reading.log


def names(videos):
    return [found.path for found in videos]


FOREIGN = {
    "XML": {"a/info.xml": "<meta/>", "project.xml": "<annotations><x/></annotations>"},
    "damaged XML": {"a/info.xml": "<meta", "b/empty.xml": ""},
    "JSON": {"labels.json": "{}", "a/via_project.json": "[]"},
    "CSV": {"table.csv": "x,y", "a/boxes.csv": "1,2"},
    "text": {"README.txt": "1,2,3,4", "a/notes.txt": "x", "LICENSE": ""},
    "Windows": {"Thumbs.db": "", "a/desktop.ini": "", "a/Thumbs.db": ""},
    "Apple": {
        ".DS_Store": "", "a/.DS_Store": "", "a/._0001.jpg": "", "a/._groundtruth.txt": "",
        "__MACOSX/a/._0001.jpg": "", "__MACOSX/c/groundtruth.txt": "1", "__MACOSX/c/1.jpg": "",
    },
    "thumbnails": {"a/@eaDir/0001.jpg/SYNOPHOTO_THUMB_M.jpg": "", "@eaDir/groundtruth.txt": "1"},
    "notebooks": {".ipynb_checkpoints/1.jpg": "", ".ipynb_checkpoints/groundtruth.txt": "1"},
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files_change_nothing(tmp_path, case):
    write(tmp_path, {**video("a"), **video("b"), **FOREIGN[case]})
    videos, log = read(custom.read_any, tmp_path)
    assert [(v.name, len(v)) for v in videos] == [("a", 3), ("b", 3)] and not log
    records, log = read_records(tmp_path, "mine")
    assert list(records) == ["a", "b"] and not log


def test_voc_files_beside_videos_are_named(tmp_path):
    write(tmp_path, {**video("a"), "a/0001.xml": XML.format(name="0001.jpg")})
    videos, log = read(custom.read_any, tmp_path)
    assert names(videos) == ["a"]
    assert [(i.level, "0001.xml" in i.text) for i in log] == [("warning", True)]


def test_foreign_xml_and_a_text_do_not_hide_voc_files(tmp_path):
    files = {"1.xml": XML.format(name="1.jpg"), "1.jpg": "", "tool.xml": "<meta/>"}
    write(tmp_path, {**files, "notes/groundtruth.txt": BOXES, "._1.xml": "", "2.xml": ""})
    videos, log = read(custom.read_any, tmp_path)
    assert names(videos) == ["1"]
    assert [(i.level, Path(i.where).name) for i in log] == [
        ("error", "2.xml"),
        ("note", "tool.xml"),
    ]


@pytest.mark.parametrize(
    "name", ["GroundTruth.TXT", "GROUNDTRUTH.txt", "groundtruth_rect.TXT", "Groundtruth_Rect.txt"]
)
def test_ground_truth_is_found_in_any_case(tmp_path, name):
    write(tmp_path, {**video("a", name), **video("b")})
    assert names(read(custom.read_any, tmp_path)[0]) == ["a", "b"]
    records, log = read_records(tmp_path, "mine")
    assert list(records) == ["a", "b"] and not log


@pytest.mark.parametrize("name", ["gt.txt", "annotation.txt", "boxes.csv", "a.json", ""])
@pytest.mark.parametrize("below", ["", "img/"])
def test_images_without_ground_truth_are_named(tmp_path, name, below):
    write(tmp_path, {**video("a", ""), **video("b")})
    if below:
        (tmp_path / "a/img").mkdir()
        for image in (tmp_path / "a").glob("*.jpg"):
            image.rename(image.parent / "img" / image.name)
    if name:
        (tmp_path / "a" / name).write_text(BOXES)
    videos, log = read(custom.read_any, tmp_path)
    assert names(videos) == ["b"]
    assert [(i.level, i.where) for i in log] == [("note", str(tmp_path / "a" / below))]
    assert name in log[0].text


def test_nothing_but_images_is_one_error_that_says_what_is_there(tmp_path):
    write(tmp_path, {**video("a", "gt.txt"), "coco.json": "{}"})
    with pytest.raises(
        ValueError, match=r"a: there is no groundtruth.txt, but gt.txt; .*coco.json"
    ):
        read(custom.read_any, tmp_path)


def test_a_stray_file_of_boxes_makes_no_video_of_a_set(tmp_path):
    write(tmp_path, {**video("a"), **video("b"), "groundtruth.txt": BOXES})
    assert list(read_records(tmp_path, "mine")[0]) == ["a", "b"]
    assert names(read(custom.read_any, tmp_path)[0]) == ["a", "b"]


# ------------------------------------------------------------------------------ boxes and masks


def masks(folder, values, size=(60, 80)):
    folder.mkdir(parents=True)
    for i, value in enumerate(values, 1):
        labels = np.zeros(size, np.uint8)
        labels[10:20, 10:20] = value
        labels[30:35, 30:35] = value and value - 1
        write_labels(folder / f"{i:04d}.png", labels)


@pytest.mark.parametrize("outside", [False, True])
def test_boxes_and_masks_of_a_video_are_both_used(tmp_path, outside):
    write(tmp_path, video("set/v"))
    masks(tmp_path / ("masks/v" if outside else "set/v/mask"), (1, 0, 2))
    options = {"masks": tmp_path / "masks"} if outside else {}
    (found,), log = read(custom.read_any, tmp_path / "set", **options)
    frames = list(found.frames())
    assert [f.boxes[0] for f in frames] == [(1, 2, 4, 6), (2, 2, 5, 6), (3, 2, 6, 6)] and not log
    assert int(frames[0].masks[0].draw((60, 80)).sum()) == 100
    for frame, shape in ((frames[1], (60, 80)), (frames[2], (60, 80)), (frames[0], (6, 8))):
        with pytest.raises(ValueError, match=r"objects, 80 x 60; expected 1"):
            frame.masks[0].draw(shape)


# ---------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    ("image", "stated"),
    [
        ("1.JPG", "1.jpg"), ("1.jpg", "1.JPG"), ("1.JPG", ""), ("1.Png", "other.png"),
        ("IMG 1.jpg", "img 1.JPG"), ("1.jpg", "C:\\data\\1.jpg"), ("1.jpg", "/home/x/1.jpg"),
        ("1.jpeg", "1.jpg"), ("1.jpg", "1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["", "JPEGImages/", "images/"])
def test_the_image_of_an_xml_file_is_found_in_any_case(tmp_path, image, stated, folder):
    write(tmp_path, {"Annotations/1.xml": XML.format(name=stated)})
    path = (
        write(tmp_path, {(folder or "Annotations/") + image: ""})
        / (folder or "Annotations")
        / image
    )
    (found,), log = read(custom.read_any, tmp_path)
    assert found.images == [path] and not log


def test_an_xml_file_that_names_another_image_is_reported(tmp_path):
    write(tmp_path, {"1.xml": XML.format(name="2.jpg"), "1.jpg": "", "2.jpg": ""})
    (found,), log = read(custom.read_any, tmp_path)
    assert found.images[0].name == "2.jpg" and log.of("warning")


# -------------------------------------------------------------------------------------- ImageNet


def vid_files(*videos):
    text = XML.replace(".jpg", "")
    return {
        f"{root}/VID/{v}/00000{i}.{kind}": text.format(name=f"00000{i}") if kind == "xml" else ""
        for v in videos
        for i in (0, 1)
        for root, kind in (("Annotations", "xml"), ("Data", "JPEG"))
    }


TRAIN, VAL = "ILSVRC2015_VID_train_000", "ILSVRC2015_val_00000000"
DISTRIBUTED = (
    f"train/{TRAIN}0/ILSVRC2015_train_1",
    f"train/{TRAIN}1/ILSVRC2015_train_2",
    f"val/{VAL}",
)


def link(root, target, *names):
    for name in names:
        (root / name).symlink_to(target, target_is_directory=True)


@pytest.mark.parametrize("links", ["", "Annotations", "Data", "both", "copies", "texts"])
def test_vid_is_read_once_as_distributed_and_with_links(tmp_path, links):
    write(tmp_path, vid_files(*DISTRIBUTED))
    for root in ("Annotations", "Data"):
        train = tmp_path / root / "VID/train"
        if links in (root, "both"):
            link(train, f"{TRAIN}0", "a")
            link(train, train / f"{TRAIN}1", "b")
            link(train, "../val", "e")
        if links == "texts":
            write(train, {"a": f"{TRAIN}0", "b": f"{TRAIN}1\n", "e": "../val"})
    if links == "copies":
        write(tmp_path, vid_files("train/a/ILSVRC2015_train_1", "train/b/ILSVRC2015_train_2"))
    videos, log = read(voc.TRAINING["vid"].read, tmp_path, split="train")
    linked = links in ("Annotations", "both", "copies", "texts")
    parts = ("a", "b") if linked else (f"{TRAIN}0", f"{TRAIN}1")
    assert names(videos) == [f"{parts[i]}/ILSVRC2015_train_{i + 1}" for i in (0, 1)] and not log
    videos, _ = read(voc.TRAINING["vid"].read, tmp_path, split="val")
    assert names(videos) == ([] if links == "copies" else [f"{'e' if linked else 'val'}/{VAL}"])
    assert all(Path(image).is_file() for found in videos for image in found.images)
    parsed = voc.parse_vid(Reading(tmp_path, IssueLog(), training=True))
    assert [len(part) for part in parsed] == (
        [1, 1, 0, 0, links != "copies"] if linked else [1, 1, 1]
    )


@pytest.mark.parametrize("links", ["", "Annotations", "both", "texts"])
def test_det_is_read_once_as_distributed_and_with_links(tmp_path, links):
    parts = {
        "ILSVRC2013_train/n01/x1": "a",
        "ILSVRC2014_train_0000/x2": "b",
        "ILSVRC2014_train_0001/x2": "c",
    }
    for part in parts:
        write(tmp_path, {f"Annotations/DET/train/{part}.xml": XML.format(name="x")})
        write(tmp_path, {f"Data/DET/train/{part}.JPEG": ""})
    write(
        tmp_path, {"Annotations/DET/val/x3.xml": XML.format(name="x"), "Data/DET/val/x3.JPEG": ""}
    )
    for part, letter in (*parts.items(), ("../val", "i")):
        for root in ("Annotations", "Data"):
            target = part if letter == "i" else part.split("/")[0]
            if links in (root, "both"):
                link(tmp_path / root / "DET/train", target, letter)
            elif links == "texts":
                write(tmp_path / root / "DET/train", {letter: target})
    videos, log = read(voc.TRAINING["det"].read, tmp_path)
    shown = [part.split("/")[0] for part in parts]
    expected = ["a", "b", "c", "i"] if links else [*shown, "val"]
    assert names(videos) == [f"{p}/x{n}" for p, n in zip(expected, (1, 2, 2, 3), strict=True)]
    assert all(Path(found.images[0]).is_file() for found in videos) and not log


@pytest.mark.parametrize("name", ["x", "../1", "", "1.5"])
def test_a_frame_of_vid_without_a_number_is_named(tmp_path, name):
    write(tmp_path, vid_files(DISTRIBUTED[0]))
    bad = tmp_path / "Annotations/VID" / DISTRIBUTED[0] / "000001.xml"
    bad.write_text(XML.format(name=name).replace(".jpg", ""))
    reading = Reading(tmp_path, IssueLog(), training=True)
    (found,) = voc.read_vid(reading)
    assert [Path(image).name for image in found.images] == ["000000.JPEG"]
    assert [(i.level, i.where) for i in reading.log] == [("error", str(bad))]


def test_coordinates_beyond_integers_stay_floats(tmp_path):
    text = XML.replace("30</xmax>", "1e30</xmax>").format(name="1.jpg")
    write(tmp_path, {"1.xml": text, "1.jpg": ""})
    (found,), _ = read(custom.read_any, tmp_path)
    assert found.regions[0][0] == (5, 6, 1e30, 40) and type(found.regions[0][0].x2) is float


@pytest.mark.parametrize(
    "meta", ["{", "[]", '{"videos": 1}', '{"videos": {"v": {"objects": {"a": {}}}}}']
)
def test_damaged_names_of_categories_are_reported_and_not_needed(tmp_path, meta):
    write(tmp_path, {**video("train/JPEGImages/v", ""), "train/meta.json": meta})
    masks(tmp_path / "train/Annotations/v", (1, 1, 1))
    videos, log = read(davis.read_youtube_vos, tmp_path, split="train")
    assert names(videos) == ["v"] and ["meta.json" in i.where for i in log] == [True]


# ----------------------------------------------------------------------------------------- links


def test_linked_folders_are_followed_and_read_once(tmp_path):
    write(tmp_path, {**video("far/c/x"), **video("set/b"), **video("set/d/e")})
    link(tmp_path / "set", tmp_path / "far", "a", "z")  # twice the same
    link(tmp_path / "set", "b", "copy_of_b")
    link(tmp_path / "set/d", tmp_path, "all")  # a circle
    link(tmp_path / "set/d/e", ".", "self")
    assert names(read(custom.read_any, tmp_path / "set")[0]) == ["a/c/x", "b", "d/e"]
    assert folders_below(tmp_path / "far") == [
        tmp_path / name for name in ("far", "far/c", "far/c/x")
    ]
    write(tmp_path, video("test/v"))
    link(tmp_path / "test", "v", "a_link")
    assert list(read_records(tmp_path / "test", "mine")[0]) == ["v"]


def test_linked_videos_of_known_sets_are_read_once_and_others_named(tmp_path):
    write(tmp_path, {**video("lasot/cat/cat-1/img", ""), "lasot/cat/cat-1/groundtruth.txt": BOXES})
    write(tmp_path, {**video("lasot/cat/cat-2/img", ""), "lasot/cat/cat-2/gt.txt": BOXES})
    link(tmp_path / "lasot", "cat", "feline")
    videos, log = read(tracking.read_lasot, tmp_path / "lasot", split="all")
    assert names(videos) == ["cat/cat-1"]
    assert [(i.level, "gt.txt" in i.text) for i in log] == [("note", True)]
    write(tmp_path, {**video("tn/TRAIN_0/frames/a", ""), **video("tn/TRAIN_0/frames/b", "")})
    write(tmp_path, {"tn/TRAIN_0/anno/a.txt": BOXES, "tn/TRAIN_0/anno/._a.txt": ""})
    videos, log = read(tracking.read_trackingnet, tmp_path / "tn", parts=["TRAIN_0"])
    assert names(videos) == ["TRAIN_0/a"] and [Path(i.where).name for i in log] == ["b"]
    write(tmp_path, video("davis/JPEGImages/480p/v", ""))
    masks(tmp_path / "davis/Annotations/480p/v", (1, 1, 1))
    link(tmp_path / "davis/Annotations/480p", "v", "w")
    assert names(read(partial(davis.read, year=2017), tmp_path / "davis", split="all")[0]) == ["v"]
