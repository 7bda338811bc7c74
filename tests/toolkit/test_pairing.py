"""Which box or mask belongs to which image."""

import codecs
from functools import partial

import numpy as np
import pytest

from toolkit.datasets.formats import custom, davis, tracking
from toolkit.datasets.formats.testing import read_otb, read_vot
from toolkit.datasets.reading import Reading
from toolkit.io.images import write_labels
from toolkit.io.issues import IssueLog

FIVE = [f"{x},15,20,15" for x in (10, 18, 26, 34, 42)]
TEXT = "\n".join(FIVE) + "\n"


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def touch(root, *names):
    write(root, dict.fromkeys(names, b""))


def read(reader, root, training, **options):
    """Left edge by name of the image, of the one video that is read, and the log."""
    reading = Reading(root, IssueLog(), training)
    (video,) = reader(reading, **options)
    names = [path.name for path in video.images]
    lefts = [regions[0][0] for regions in video.regions]
    if training:
        names = [name for name, seen in zip(names, video.visible or (), strict=True) if seen]
        lefts = [frame.boxes[0][0] for frame in video.frames()]
    return dict(zip(names, lefts, strict=True)), reading.log


def read_own(root, training):
    reader = custom.read_any if training else partial(custom.read_folders, name="mine")
    return read(reader, root, training)


def paired(lefts, images=range(1, 6)):
    return {f"{i:04d}.jpg": x for i, x in zip(images, lefts, strict=False)}


ALL = paired((10, 18, 26, 34, 42))
LEFT_OUT = {}
# text of groundtruth.txt, numbers of the images there, left edges
LINES = {
    "header": ("x,y,w,h\n" + TEXT, ALL),
    "quoted header": ('"x" "y" "width" "height"\n' + TEXT.replace(",", " "), ALL),
    "header of a frame column": ("frame x y w h\n" + TEXT.replace(",", " "), ALL),
    "words": ("Ground truth of video A\r\n\r\n" + TEXT.replace("\n", "\r\n"), ALL),
    "comments": ("# made by hand\n" + TEXT.replace("\n26", "\n% a turn\n26") + "# end\n", ALL),
    "blank lines after the header": ("\nx y w h\n\n" + TEXT, ALL),
    "blank lines between": (TEXT.replace("\n", "\r\r\n"), ALL),
    "blank lines at the end": (TEXT + "\n\n\n \n", ALL),
    "mark": ("\ufeff" + TEXT, ALL),
    "mark of a joined file": (TEXT.replace("26", "\ufeff26"), ALL),
    "UTF-16": (TEXT.encode("utf-16"), ALL),
    "UTF-16, big": (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), ALL),
    "old line ends": (TEXT.replace("\n", "\r"), ALL),
    "absent at first": ("\n\n" + "\n".join(FIVE[2:]), paired((26, 34, 42), (3, 4, 5))),
    "absent between": (
        "\n".join([*FIVE[:2], "", *FIVE[3:]]),
        paired((10, 18, 34, 42), (1, 2, 4, 5)),
    ),
    "absent at last": ("\n".join(FIVE[:3]) + "\n\n\n", paired((10, 18, 26))),
    "polygons": (
        "x1 y1 x2 y2 x3 y3 x4 y4\n" + "".join(f"{x} 1 9 1 9 9 {x} 9\n" for x in (1, 2, 3, 4, 5)),
        paired((1, 2, 3, 4, 5)),
    ),
    "a line less": ("\n".join(FIVE[:4]), LEFT_OUT),
    "a line less, header": ("x,y,w,h\n" + "\n".join(FIVE[:4]), LEFT_OUT),
    "a line more": (TEXT + "50,15,20,15\n", LEFT_OUT),
    "blank lines that fit neither way": ("\n" + TEXT + "\n50,1,2,3", LEFT_OUT),
    "header of corners": ("x1,y1,x2,y2\n" + TEXT, LEFT_OUT),
    "header of corners in a comment": ("# xmin ymin xmax ymax\n" + TEXT, LEFT_OUT),
    "header of centers": ("cx cy w h\n" + TEXT, LEFT_OUT),
    "header of another order": ("y,x,h,w\n" + TEXT, LEFT_OUT),
    "lines of five numbers": ("".join(f"{i},{line}\n" for i, line in enumerate(FIVE)), LEFT_OUT),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), LEFT_OUT),
    "header alone": ("x,y,w,h\n", LEFT_OUT),
    "nothing": ("", LEFT_OUT),
    "brackets": ("[" * 5000, LEFT_OUT),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", LINES)
def test_lines_of_a_file_belong_to_images_or_the_video_is_left_out(tmp_path, case, training):
    text, expected = LINES[case]
    touch(tmp_path, *(f"v/{i:04d}.jpg" for i in range(1, 6)))
    write(tmp_path, {"v/groundtruth.txt": text})
    found, log = read_own(tmp_path, training)
    assert {name: x for name, x in found.items() if x == x} == expected
    assert bool(log.of("error")) == (not expected)


# numbers of the images with five boxes, and number of the first box; None: left out
IMAGES = {
    "one is missing": ((1, 2, 4, 5), 1),
    "from 0": ((0, 2, 3, 4), 0),
    "from elsewhere": ((300, 301, 303, 304), 300),
    "two are missing": ((7, 11), 7),
    "the last, or one before the first": ((1, 2, 3, 4), None),
    "the first, or one behind the last": ((2, 3, 4, 5), None),
    "the last and another": ((1, 3, 4), None),
    "gap that is too wide": ((1, 2, 3, 9), None),
}


@pytest.mark.parametrize("pattern", ["%04d.jpg", "%d.JPG", "frame_%d_cam1.png", "f-%03d.rf.a7.jpg"])
@pytest.mark.parametrize("case", IMAGES)
def test_boxes_are_paired_by_number_where_images_are_missing(tmp_path, case, pattern):
    numbers, first = IMAGES[case]
    touch(tmp_path, *(f"v/{pattern % i}" for i in numbers))
    write(tmp_path, {"v/groundtruth.txt": TEXT})
    expected = {} if first is None else {pattern % i: 10 + 8 * (i - first) for i in numbers}
    found, log = read_own(tmp_path, training=True)
    assert found == expected
    assert len(log.of("error")) == 1
    assert read_own(tmp_path, training=False)[1].of("error")  # which leaves the video out


ABSENT_FIRST, ABSENT_LAST = "\n" + "\n".join(FIVE[1:]), "\n".join(FIVE[:4])


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [  # blank lines may be frames or not, and images are missing
        (TEXT.replace("26,15,20,15", ""), (1, 2, 4, 5), {1: 10, 2: 18, 4: 34, 5: 42}),
        (ABSENT_FIRST, (1, 2, 4, 5), {2: 18, 4: 34, 5: 42}),
        (TEXT.replace("26,15,20,15", ""), (1, 2, 3, 4), {}),
        (TEXT + "\n\n", (1, 2, 4, 5), {1: 10, 2: 18, 4: 34, 5: 42}),
        (ABSENT_LAST + "\n\n", (1, 3, 4, 5), {1: 10, 3: 26, 4: 34}),
        (ABSENT_LAST + "\n\n\n\n", (1, 3, 4, 5), {}),
        ("x,y,w,h\n" + ABSENT_FIRST, (1, 2, 3, 4, 5), {}),
        ("x,y,w,h\n\n" + ABSENT_LAST + "\n\n", (1, 2, 3, 4, 5), {}),
    ],
)
def test_blank_lines_beside_missing_images(tmp_path, text, numbers, expected):
    touch(tmp_path, *(f"v/{i:04d}.jpg" for i in numbers))
    write(tmp_path, {"v/groundtruth.txt": text})
    for training in (False, True):
        found, log = read_own(tmp_path, training)
        found = {name: x for name, x in found.items() if x == x}
        assert found == {f"{i:04d}.jpg": x for i, x in expected.items()} and log.of("error")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n" + TEXT, (10, 18, 26, 34, 42)),
        ("x,y,w,h\n\n" + TEXT, (10, 18, 26, 34, 42)),
        (ABSENT_LAST + "\n\n", (10, 18, 26, 34)),
    ],
)
def test_blank_lines_that_might_be_frames_are_reported(tmp_path, text, expected):
    touch(tmp_path, *(f"v/{i:04d}.jpg" for i in range(1, 6)))
    write(tmp_path, {"v/groundtruth.txt": text})
    found, log = read_own(tmp_path, training=True)
    assert found == paired(expected)
    assert [(issue.level, issue.kind) for issue in log] == [("warning", "blank lines")]


@pytest.mark.parametrize("names", [("a", "b", "c", "d"), ("1", "1a", "3", "4"), ("x1", "y1", "x2")])
def test_images_without_numbers_are_not_paired_where_boxes_are_more(tmp_path, names):
    touch(tmp_path, *(f"v/{name}.jpg" for name in names))
    write(tmp_path, {"v/groundtruth.txt": TEXT})
    found, log = read_own(tmp_path, training=True)
    assert not found and len(log.of("error")) == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("0001.jpg", "0006.jpg", "0011.jpg", "0016.jpg", "0021.jpg"), []),  # annotated are a few
        (("0001.jpg", "0002.jpg", "0003.jpg", "0005.jpg", "0006.jpg"), ["warning"]),
        (("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"), []),
        (
            tuple(
                f"14036365797{t}.png" for t in (63555584, 83555584, 93555585, 93555586, 93555589)
            ),
            ["warning"],
        ),
        (tuple(f"15778800{t}.jpg" for t in ("00033", "00066", "00100", "00133", "00166")), []),
        (("cam1_1.jpg", "cam1_2.jpg", "cam2_1.jpg", "cam2_2.jpg", "cam2_3.jpg"), []),
    ],
)
def test_as_many_boxes_as_images_are_paired_in_order(tmp_path, names, expected):
    touch(tmp_path, *(f"v/{name}" for name in names))
    write(tmp_path, {"v/groundtruth.txt": TEXT})
    found, log = read_own(tmp_path, training=True)
    assert found == dict(zip(names, (10, 18, 26, 34, 42), strict=True))
    assert [issue.level for issue in log] == expected


@pytest.mark.parametrize("twin", ["3.jpg", "0003.png", "0003_copy.jpg", "0003 (1).jpg"])
def test_two_images_of_a_frame_leave_a_video_out(tmp_path, twin):
    touch(
        tmp_path, *(f"v/{name}" for name in ("0001.jpg", "0002.jpg", "0003.jpg", "0005.jpg", twin))
    )
    write(tmp_path, {"v/groundtruth.txt": TEXT})
    for training in (False, True):
        found, log = read_own(tmp_path, training)
        assert not found and "two images of number" in log.of("error")[0].text


def test_lasot_pairs_boxes_and_its_lists_by_number(tmp_path):
    touch(tmp_path, *(f"cat/cat-1/img/{i:08d}.jpg" for i in (1, 2, 4)))  # 3 and 5 are missing
    lists = {
        "groundtruth.txt": TEXT,
        "full_occlusion.txt": "0,0,1,1,0",
        "out_of_view.txt": "0," * 5,
    }
    write(tmp_path / "cat/cat-1", lists)
    reading = Reading(tmp_path, IssueLog(), training=True)
    (video,) = tracking.read_lasot(reading, "all")
    assert [(f.number, f.image.name, f.boxes[0][0]) for f in video.frames()] == [
        (0, "00000001.jpg", 10),
        (1, "00000002.jpg", 18),
    ]
    assert [
        (path.name, region[0][0]) for path, region in zip(video.images, video.regions, strict=True)
    ][2] == ("00000004.jpg", 34)
    assert "images 3, 5 are missing" in reading.log.of("error")[0].text


def test_got10k_pairs_boxes_and_its_lists_by_number(tmp_path):
    video = "GOT-10k_Train_000001"
    touch(tmp_path, *(f"train/{video}/{i:08d}.jpg" for i in (1, 3, 4, 5)))
    lists = {
        "groundtruth.txt": TEXT,
        "absence.label": "0\n1\n0\n0\n1\n",
        "cover.label": "8\n0\n7\n6\n0\n",
    }
    write(tmp_path / "train", {"list.txt": video, **{f"{video}/{n}": t for n, t in lists.items()}})
    found, _ = read(tracking.read_got10k, tmp_path, True, split="train")
    assert found == {"00000001.jpg": 10, "00000003.jpg": 26, "00000004.jpg": 34}
    (tested,) = tracking.read_got10k(Reading(tmp_path, IssueLog()), "train")
    assert tested.flags == {"cover": [8, 7, 6, 0]}


def test_known_sets_have_no_gaps_to_share_with_their_boxes(tmp_path):
    touch(tmp_path, *(f"cat/cat-1/img/{i:08d}.jpg" for i in (1, 2, 4, 5, 6)))
    write(tmp_path, {"cat/cat-1/groundtruth.txt": TEXT})
    found, log = read(tracking.read_lasot, tmp_path, True, split="all")
    assert not found and "numbers are missing" in log.of("error")[0].text


def test_trackingnet_and_vot_know_their_first_number(tmp_path):
    touch(tmp_path, *(f"TRAIN_1/frames/a/{i}.jpg" for i in (1, 2, 10)))
    write(tmp_path, {"TRAIN_1/anno/a.txt": "".join(f"{i},1,2,3\n" for i in range(11))})
    found, _ = read(tracking.read_trackingnet, tmp_path, True, parts=["TRAIN_1"])
    assert found == {"1.jpg": 1, "2.jpg": 2, "10.jpg": 10}
    touch(tmp_path, *(f"a/color/{i:08d}.jpg" for i in (1, 3)))
    write(tmp_path, {"a/groundtruth.txt": "1,1,2,3\n2,1,2,3\n3,1,2,3\n"})
    found, log = read(read_vot, tmp_path, False)
    assert found == {"00000001.jpg": 1, "00000003.jpg": 3} and log.of("error")


@pytest.mark.parametrize(("count", "first"), [(10, 0), (12, 2), (11, None), (13, None)])
def test_boxes_of_a_video_that_begins_late(tmp_path, count, first):
    """BlurCar3 counts from image 3 on; here the folder has 12."""
    touch(tmp_path, *(f"BlurCar3/img/{i:04d}.jpg" for i in range(1, 13)))
    text = "".join(f"{i + 1},1,2,3\n" for i in range(count))
    write(tmp_path, {"BlurCar3/groundtruth_rect.txt": text})
    video = next(v for v in read_otb(Reading(tmp_path, IssueLog())) if v.name == "BlurCar3")
    found = [
        (path.name, tracks[0][0]) for path, tracks in zip(video.images, video.regions, strict=True)
    ]
    expected = [] if first is None else [(f"{i + 3:04d}.jpg", i + first) for i in range(10)]
    assert found == expected


# ------------------------------------------------------------------------------------------ masks


def write_masks(root, *names):
    for x, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        labels = np.zeros((6, 20), np.uint8)
        labels[1:4, x : x + 2] = 1
        write_labels(root / name, labels)


@pytest.mark.parametrize("form", ["%d", "frame%d", "f%d_cam1", "%d_jpg.rf.0a%d"])
def test_masks_are_in_the_order_of_their_frames(tmp_path, form):
    names = [form.replace("%d", str(i), 1).replace("%d", "7") for i in range(1, 12)]
    touch(tmp_path, *(f"v/{name}.jpg" for name in names))
    write_masks(tmp_path / "v/mask", *(f"{name}.png" for name in names))
    (video,) = custom.read_any(Reading(tmp_path, IssueLog(), training=True))
    assert [(f.number, f.image.stem) for f in video.frames()] == list(enumerate(names, 1))
    assert [path.stem for path in video.labels] == names


@pytest.mark.parametrize("form", ["%05d.PNG", "%d.png", "mask_%d.png", "%05d_mask.png"])
def test_masks_of_another_spelling_are_paired_by_number(tmp_path, form):
    touch(tmp_path, *(f"JPEGImages/480p/v/{i:05d}.jpg" for i in range(12)))
    write_masks(tmp_path / "Annotations/480p/v", *(form % i for i in (0, 2, 10, 11)))
    for training in (False, True):
        reading = Reading(tmp_path, IssueLog(), training)
        (video,) = davis.read(reading, 2017, "all")
        found = {p.stem: m.name for p, m in zip(video.images, video.labels, strict=True) if m}
        assert found == {f"{i:05d}": form % i for i in (0, 2, 10, 11)} and not reading.log


def test_masks_that_are_counted_otherwise_leave_the_video_out(tmp_path):
    touch(tmp_path, *(f"v/img_{i}.jpg" for i in range(3)))
    write_masks(tmp_path / "v/mask", *(f"{i}.png" for i in range(1, 4)))
    reading = Reading(tmp_path, IssueLog(), training=True)
    (video,) = custom.read_any(reading)
    assert not len(video) and "are named as the frames" in reading.log.of("error")[0].text
