"""Every distribution in miniature, to test on and to train on, and what may be wrong in one."""

import json
import os
import pickle
import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from pysot.datasets.prepare import label_boxes
from toolkit.datasets import BENCHMARKS, DatasetFactory, formats, load_videos
from toolkit.datasets.formats import custom, davis, read_records, tracking
from toolkit.datasets.formats.testing import parse_tracks
from toolkit.datasets.reading import Reading, spans
from toolkit.datasets.video import Corners, Sequence
from toolkit.io.images import read_labels, write_labels
from toolkit.io.issues import IssueLog

NAN = float("nan")
IMAGE = cv2.imencode(".jpg", np.zeros((6, 8, 3), np.uint8))[1].tobytes()


def lines(count, first=(10, 20, 30, 40), separator=","):
    """Boxes that move a pixel to the right per frame, as text."""
    x, *rest = first
    return "".join(separator.join(map(str, [x + i, *rest])) + "\n" for i in range(count))


def boxes(count, first=(10, 20, 30, 40)):
    x, *rest = first
    return [[x + i, *rest] for i in range(count)]


def images(pattern, *numbers):
    return {pattern % number: IMAGE for number in numbers}


@pytest.fixture
def build(tmp_path):
    """Write files given by path: bytes, text, or the label image of a mask."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                write_labels(path, content)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path

    return write


def mask(x, y, w, h, label=1):
    labels = np.zeros((6, 8), np.uint8)
    labels[y : y + h, x : x + w] = label
    return labels


def vot_files(folder):
    polygon = "5,0,10,5,5,10,0,5\n"
    return {
        "list.txt": "a\n",
        **images(f"a/{folder}%08d.jpg", 1, 2),
        "a/groundtruth.txt": polygon + "1.5,2,3,4\n",
        "a/occlusion.tag": "0\n1\n",
        "a/motion_change.tag": "0\n0\n",
        "a/size_change.tag": "0\n0\n",
        "a/illum_change.tag": "0\n0\n",
    }


LASOT_VIDEO = {
    **images("bird-2/img/%08d.jpg", 1, 2, 3),
    "bird-2/groundtruth.txt": lines(3),
    "bird-2/full_occlusion.txt": "0,1,0",
    "bird-2/out_of_view.txt": "0,0,0",
}
GOT10K_VIDEO = {
    **images("GOT-10k_Val_000001/%08d.jpg", 1, 2),
    "GOT-10k_Val_000001/groundtruth.txt": "1.0,2.0,3.0,4.0\n2.5,2.0,3.0,4.0\n",
    "GOT-10k_Val_000001/cover.label": "8\n0\n",
    "GOT-10k_Val_000001/absence.label": "0\n1\n",
}


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def one_hot(index, count):
    return ",".join("1" if i == index else "0" for i in range(count))


# benchmark, files, video, its image names, its boxes, further attributes
CASES = {
    "OTB counts pixels from 1": (
        "OTB100",
        {**images("Car4/img/%04d.jpg", 1, 2), "Car4/groundtruth_rect.txt": lines(2)},
        ("Car4", ["Car4/img/0001.jpg", "Car4/img/0002.jpg"], boxes(2, (9, 19, 30, 40)), {}),
    ),
    "OTB tabs, Windows line ends": (
        "OTB2015",
        {
            **images("Car4/img/%04d.jpg", 1, 2),
            "Car4/groundtruth_rect.txt": lines(2, separator="\t").replace("\n", "\r\n"),
        },
        ("Car4", ["Car4/img/0001.jpg", "Car4/img/0002.jpg"], boxes(2, (9, 19, 30, 40)), {}),
    ),
    "OTB second target of a folder": (
        "OTB100",
        {
            **images("Jogging/img/%04d.jpg", 1),
            "Jogging/groundtruth_rect.1.txt": "1 1 5 5",
            "Jogging/groundtruth_rect.2.txt": "3 3 5 5",
            **images("Skating2/img/%04d.jpg", 1),
            "Skating2/groundtruth_rect.1.txt": "1 1 5 5",
            "Skating2/groundtruth_rect.2.txt": "3 3 5 5",
            **images("Human4/img/%04d.jpg", 1),
            "Human4/groundtruth_rect.1.txt": "1 1 5 5",
            "Human4/groundtruth_rect.2.txt": "7 3 5 5",
        },
        ("Human4-2", ["Human4/img/0001.jpg"], [[6, 2, 5, 5]], {}),
    ),
    "OTB video that begins late and ends early": (
        "OTB100",
        {
            **images("David/img/%04d.jpg", *range(298, 773)),
            "David/groundtruth_rect.txt": lines(471),
        },
        (
            "David",
            [f"David/img/{i:04d}.jpg" for i in range(300, 771)],
            boxes(471, (9, 19, 30, 40)),
            {},
        ),
    ),
    "OTB more images than boxes": (
        "OTB100",
        {
            **images("Diving/img/%04d.jpg", 1, 2, 3, 4),
            "Diving/groundtruth_rect.txt": lines(3, separator=" "),
        },
        ("Diving", [f"Diving/img/000{i}.jpg" for i in (1, 2, 3)], boxes(3, (9, 19, 30, 40)), {}),
    ),
    "VOT with folder color": (
        "VOT2018",
        vot_files("color/"),
        (
            "a",
            ["a/color/00000001.jpg", "a/color/00000002.jpg"],
            [[5, 0, 10, 5, 5, 10, 0, 5], [1.5, 2, 3, 4]],
            {
                "tags": {
                    "all": [1, 1],
                    "camera_motion": [],
                    "illum_change": [0, 0],
                    "motion_change": [0, 0],
                    "size_change": [0, 0],
                    "occlusion": [0, 1],
                    "empty": [1, 0],
                }
            },
        ),
    ),
    "VOT without it": (
        "VOT2016",
        vot_files(""),
        (
            "a",
            ["a/00000001.jpg", "a/00000002.jpg"],
            [[5, 0, 10, 5, 5, 10, 0, 5], [1.5, 2, 3, 4]],
            {},
        ),
    ),
    "VOT long term": (
        "VOT2018-LT",
        {
            **images("b/color/%08d.jpg", 1, 2),
            "b/groundtruth.txt": "1.00,2.00,3.00,4.00\nnan,nan,nan,nan\n",
        },
        ("b", ["b/color/00000001.jpg", "b/color/00000002.jpg"], [[1, 2, 3, 4], [NAN] * 4], {}),
    ),
    "LaSOT by class": (
        "LaSOT",
        {**below("bird", LASOT_VIDEO), "att/bird-2.txt": one_hot(13, 14)},
        (
            "bird-2",
            [f"bird/bird-2/img/0000000{i}.jpg" for i in (1, 2, 3)],
            boxes(3),
            {"absent": [1, 0, 1], "attr": ["Aspect Ration Change"]},
        ),
    ),
    "LaSOT without classes": (
        "LaSOT",
        LASOT_VIDEO,
        ("bird-2", [f"bird-2/img/0000000{i}.jpg" for i in (1, 2, 3)], boxes(3), {"attr": []}),
    ),
    "UAV123 part of a folder": (
        "UAV123",
        {
            **images("data_seq/UAV123/truck4/%06d.jpg", *range(570, 1262)),
            "anno/UAV123/truck4_2.txt": "NaN,NaN,NaN,NaN\n".join((lines(1), lines(683))),
            "anno/UAV123/att/truck4_2.txt": one_hot(11, 12),
        },
        (
            "truck4_2",
            [f"data_seq/UAV123/truck4/{i:06d}.jpg" for i in range(577, 1262)],
            [*boxes(1), [NAN] * 4, *boxes(683)],
            {"attr": ["Similar Object"]},
        ),
    ),
    "UAV123 at 10 fps": (
        "UAV123_10fps",
        {
            **images("data_seq/UAV123_10fps/truck4/%06d.jpg", *range(1, 422)),
            "anno/UAV123_10fps/truck4_2.txt": lines(229),
        },
        (
            "truck4_2",
            [f"data_seq/UAV123_10fps/truck4/{i:06d}.jpg" for i in range(193, 422)],
            boxes(229),
            {},
        ),
    ),
    "UAV20L lies in the folders of UAV123": (
        "UAV20L",
        {
            **images("data_seq/UAV123/car3/%06d.jpg", *range(1, 1718)),
            "anno/UAV20L/car3.txt": lines(1717),
        },
        (
            "car3",
            [f"data_seq/UAV123/car3/{i:06d}.jpg" for i in range(1, 1718)],
            boxes(1717),
            {},
        ),
    ),
    "NFS at 240 fps": (
        "NFS240",
        {
            **images("a/240/a/%05d.jpg", 1, 2),
            "a/240/a.txt": '0 10 20 40 60 1 0 0 0 "a b"\n0 11 20 41 60 2 0 0 1 "a b"\n',
        },
        ("a", ["a/240/a/00001.jpg", "a/240/a/00002.jpg"], boxes(2), {}),
    ),
    "NFS at 30 fps takes every 8th box, one more or less": (
        "NFS30",
        {
            **images("a/30/a/%05d.jpg", 1, 2),
            "a/30/a.txt": "".join(f'0 {10 + i} 20 {40 + i} 60 {i} 0 0 "x"\n' for i in range(17)),
        },
        ("a", ["a/30/a/00001.jpg", "a/30/a/00002.jpg"], [[10, 20, 30, 40], [18, 20, 30, 40]], {}),
    ),
    "GOT-10k val": (
        "GOT-10k_val",
        {**below("val", GOT10K_VIDEO), "val/list.txt": "GOT-10k_Val_000001\n"},
        (
            "GOT-10k_Val_000001",
            [f"val/GOT-10k_Val_000001/0000000{i}.jpg" for i in (1, 2)],
            [[1, 2, 3, 4], [2.5, 2, 3, 4]],
            {"cover": [8, 0]},
        ),
    ),
    "GOT-10k, root is the split": (
        "GOT-10k_val",
        GOT10K_VIDEO,
        (
            "GOT-10k_Val_000001",
            [f"GOT-10k_Val_000001/0000000{i}.jpg" for i in (1, 2)],
            [[1, 2, 3, 4], [2.5, 2, 3, 4]],
            {"cover": [8, 0]},
        ),
    ),
    "GOT-10k test has one box": (
        "GOT-10k",
        {
            **images("test/GOT-10k_Test_000001/%08d.jpg", 1, 2, 3),
            "test/GOT-10k_Test_000001/groundtruth.txt": "1.0,2.0,3.0,4.0\n",
        },
        (
            "GOT-10k_Test_000001",
            [f"test/GOT-10k_Test_000001/0000000{i}.jpg" for i in (1, 2, 3)],
            [[1, 2, 3, 4], [NAN] * 4, [NAN] * 4],
            {"cover": None},
        ),
    ),
    "TrackingNet numbers are not padded": (
        "TrackingNet",
        {**images("TEST/frames/x_1/%d.jpg", *range(12)), "TEST/anno/x_1.txt": "1,2,3,4"},
        (
            "x_1",
            [f"TEST/frames/x_1/{i}.jpg" for i in range(12)],
            [[1, 2, 3, 4], *[[NAN] * 4] * 11],
            {},
        ),
    ),
    "LaSOT's extension, beside LaSOT itself": (
        "LaSOText",
        {
            **below("bird", LASOT_VIDEO),
            **{f"atv/{name.replace('bird-2', 'atv-1')}": of for name, of in LASOT_VIDEO.items()},
            "att/atv-1.txt": one_hot(11, 14),
        },
        (
            "atv-1",
            [f"atv/atv-1/img/0000000{i}.jpg" for i in (1, 2, 3)],
            boxes(3),
            {"absent": [1, 0, 1], "attr": ["Out-of-View"]},
        ),
    ),
    "AVisT keeps flags in folders of their own": (
        "AVisT",
        {
            **images("sequences/fog_car/img_%05d.jpg", 1, 2, 3),
            "anno/fog_car.txt": lines(3, separator=" "),
            "full_occlusion/fog_car_full_occlusion.txt": "0\n1\n0\n",
            "out_of_view/fog_car_out_of_view.txt": "0,0,1",
        },
        (
            "fog_car",
            [f"sequences/fog_car/img_0000{i}.jpg" for i in (1, 2, 3)],
            boxes(3),
            {"absent": [1, 0, 0]},
        ),
    ),
    "TNL2K in the folder of an archive, names without zeros": (
        "TNL2K",
        {
            **images("TNL2K_test_p1/cat_video/imgs/img_%d.png", 9, 10, 11),
            "TNL2K_test_p1/cat_video/groundtruth.txt": lines(3),
            "TNL2K_test_p1/cat_video/language.txt": "the cat",
            "TNL2K_train_p1/dog_video/groundtruth.txt": lines(1),
        },
        (
            "cat_video",
            [f"TNL2K_test_p1/cat_video/imgs/img_{i}.png" for i in (9, 10, 11)],
            boxes(3),
            {},
        ),
    ),
    "TNL2K without that folder": (
        "TNL2K",
        {**images("cat/imgs/%05d.jpg", 0, 1), "cat/groundtruth.txt": lines(2)},
        ("cat", ["cat/imgs/00000.jpg", "cat/imgs/00001.jpg"], boxes(2), {}),
    ),
    "TC128 names the images that count": (
        "TC128",
        {
            **images("Bus_ce2/img/%04d.jpg", *range(4, 10)),
            "Bus_ce2/Bus_ce2_gt.txt": lines(3, separator=" "),
            "Bus_ce2/Bus_ce2_frames.txt": "6,8\n",
        },
        ("Bus_ce2", [f"Bus_ce2/img/000{i}.jpg" for i in (6, 7, 8)], boxes(3), {}),
    ),
    "TC128 without such a file": (
        "TC128",
        {**images("Ball/img/%04d.jpg", 1, 2), "Ball/Ball_gt.txt": lines(2)},
        ("Ball", ["Ball/img/0001.jpg", "Ball/img/0002.jpg"], boxes(2), {}),
    ),
    "VisDrone with attributes": (
        "VisDrone-SOT",
        {
            **images("sequences/uav1_s/img%07d.jpg", 1, 2),
            "annotations/uav1_s.txt": lines(2),
            "attributes/uav1_s_attr.txt": one_hot(9, 12),
        },
        (
            "uav1_s",
            [f"sequences/uav1_s/img000000{i}.jpg" for i in (1, 2)],
            boxes(2),
            {"attr": ["Similar Object"]},
        ),
    ),
    "UAVDT beside its boxes, from a later image on": (
        "UAVDT-SOT",
        {
            **images("S0101/img%06d.jpg", 30, 31),
            "anno/S0101_gt.txt": lines(2),
            "anno/S0101_att.txt": "1,0",
        },
        ("S0101", [f"S0101/img0000{i}.jpg" for i in (30, 31)], boxes(2), {"attr": []}),
    ),
    "UAVDT as two archives": (
        "UAVDT-SOT",
        {
            **images("UAV-benchmark-S/S0101/img%06d.jpg", 1, 2),
            "UAV-benchmark-SOT_v1.0/anno/S0101_gt.txt": lines(2),
        },
        ("S0101", [f"UAV-benchmark-S/S0101/img00000{i}.jpg" for i in (1, 2)], boxes(2), {}),
    ),
    "DTB70": (
        "DTB70",
        {**images("Car6/img/%05d.jpg", 1, 2), "Car6/groundtruth_rect.txt": lines(2)},
        ("Car6", ["Car6/img/00001.jpg", "Car6/img/00002.jpg"], boxes(2), {}),
    ),
    "DAVIS boxes come from the masks": (
        "DAVIS2016",
        {
            **images("JPEGImages/480p/cow/%05d.jpg", 0, 1),
            "Annotations/480p/cow/00000.png": cv2.imencode(".png", mask(1, 2, 3, 4, 255))[
                1
            ].tobytes(),
            "Annotations/480p/cow/00001.png": mask(0, 0, 1, 1, 0),
            "ImageSets/2016/val.txt": "/JPEGImages/480p/cow/00000.jpg "
            "/Annotations/480p/cow/00000.png\n",
            **images("JPEGImages/480p/train/%05d.jpg", 0),
            "Annotations/480p/train/00000.png": mask(1, 2, 3, 4),
        },
        (
            "cow",
            ["JPEGImages/480p/cow/00000.jpg", "JPEGImages/480p/cow/00001.jpg"],
            [[1, 2, 3, 4], [NAN] * 4],
            {"masks": ["Annotations/480p/cow/00000.png", "Annotations/480p/cow/00001.png"]},
        ),
    ),
    "DAVIS 2017": (
        "DAVIS2017",
        {
            **images("JPEGImages/480p/dogs/%05d.jpg", 0, 1),
            "Annotations/480p/dogs/00000.png": mask(1, 2, 3, 4, 2) + mask(5, 0, 1, 1, 1),
            "Annotations/480p/dogs/00001.png": mask(0, 0, 2, 1, 3),
            "ImageSets/2017/val.txt": "dogs\n",
        },
        (
            "dogs",
            ["JPEGImages/480p/dogs/00000.jpg", "JPEGImages/480p/dogs/00001.jpg"],
            [[1, 0, 5, 6], [0, 0, 2, 1]],
            {},
        ),
    ),
    "YouTube-VOS has few masks": (
        "YouTube-VOS",
        {
            **images("valid/JPEGImages/0ab/%05d.jpg", 0, 5, 10),
            "valid/Annotations/0ab/00000.png": mask(1, 2, 3, 4),
        },
        (
            "0ab",
            [f"valid/JPEGImages/0ab/{i:05d}.jpg" for i in (0, 5, 10)],
            [[1, 2, 3, 4], [NAN] * 4, [NAN] * 4],
            {"masks": ["valid/Annotations/0ab/00000.png", None, None]},
        ),
    ),
    "own folder": (
        "mine",
        {
            **images("cat/img/frame_%d.png", 8, 9, 10),
            "cat/groundtruth.txt": lines(3, separator=" "),
        },
        ("cat", [f"cat/img/frame_{i}.png" for i in (8, 9, 10)], boxes(3), {}),
    ),
    "own folder, boxes beside it": (
        "mine",
        {**images("cat/%d.jpg", 1, 2), "cat.txt": lines(2, separator=";")},
        ("cat", ["cat/1.jpg", "cat/2.jpg"], boxes(2), {}),
    ),
    "own folder, one box": (
        "mine",
        {**images("cat/%d.jpg", 1, 2), "cat/cat.txt": "\ufeff10, 20, 30, 40\n\n"},
        ("cat", ["cat/1.jpg", "cat/2.jpg"], [[10, 20, 30, 40], [NAN] * 4], {}),
    ),
    "own video, root is its folder": (
        "cat",
        {**images("img/%d.jpg", 1, 2), "groundtruth_rect.txt": lines(2)},
        ("cat", ["img/1.jpg", "img/2.jpg"], boxes(2), {}),
    ),
    "own table": (
        "mine",
        {
            **images("cat/%03d.jpg", 4, 5, 6, 7),
            "mine.csv": "video,frame,w,h,x,y,note\ncat,7,30,40,12,20,z\ncat,5,30,40,10,20,\n",
        },
        (
            "cat",
            ["cat/005.jpg", "cat/006.jpg", "cat/007.jpg"],
            [[10, 20, 30, 40], [NAN] * 4, [12, 20, 30, 40]],
            {},
        ),
    ),
}


def partial_set(root, name):
    """Videos of a set of which most are not there, as the miniatures are."""
    records, log = read_records(root, name)
    (root / f"{name}.json").write_text(json.dumps(plain(records)))
    return load_videos(root, name), log


def plain(records):
    """The same records with lists for boxes that are read late."""
    return {name: {**r, "gt_rect": [*r["gt_rect"]]} for name, r in records.items()}


@pytest.mark.parametrize("case", CASES)
def test_layout(build, case):
    name, files, (video_name, names, gt, more) = CASES[case]
    root = build(files)
    videos, _ = partial_set(root, name)
    video = videos[video_name]
    assert video.img_names == [str(root / image) for image in names]
    np.testing.assert_array_equal(
        np.array([[*region, *[0] * (8 - len(region))] for region in video.gt_traj], float),
        np.array([[*region, *[0] * (8 - len(region))] for region in gt], float),
    )
    assert list(video.init_rect) == list(gt[0])
    for field, value in more.items():
        if field == "masks":
            assert video.mask_names == [image and str(root / image) for image in value]
        else:
            found = getattr(video, field)
            assert (found.tolist() if isinstance(found, np.ndarray) else found) == value
    assert (video.width, video.height) == (8, 6)


def test_every_benchmark_has_a_layout():
    drawn = {name for name in BENCHMARKS if name.startswith("Synthetic")}  # they come with a JSON
    own = {"DTB70"}  # read like a set of the user
    assert set(formats.testing_formats()) | own | drawn == set(BENCHMARKS)


def test_a_whole_set_needs_no_json(build):
    root = build(vot_files("color/"))
    dataset = DatasetFactory.create_dataset(name="VOT2018", dataset_root=root)
    assert [video.name for video in dataset] == ["a"]
    assert dataset["a"][1][0].shape == (6, 8, 3)


def test_boxes_of_masks_are_read_when_asked_for(build):
    root = build(
        {
            **images("JPEGImages/480p/cow/%05d.jpg", 0, 1, 2),
            **{f"Annotations/480p/cow/0000{i}.png": mask(i, 0, 2, 2) for i in range(3)},
        }
    )
    video = load_videos(root, "DAVIS2016")["cow"]
    (root / "Annotations/480p/cow/00002.png").write_bytes(b"junk")
    assert video.gt_traj[0] == [0, 0, 2, 2]
    copy = pickle.loads(pickle.dumps(video))  # as it goes to a worker process
    assert copy.gt_traj[1] == [1, 0, 2, 2] and list(copy.gt_traj[:2]) == [
        [0, 0, 2, 2],
        [1, 0, 2, 2],
    ]
    with pytest.raises(ValueError, match=r"00002\.png"):
        _ = video.boxes


def test_annotations_alone_are_enough_to_score(build):
    root = build({"a/groundtruth.txt": lines(3), "list.txt": "a"})
    video = load_videos(root, "VOT2016")["a"]
    assert video.img_names[2] == str(root / "a/color/00000003.jpg")
    assert video.boxes.tolist() == boxes(3)
    with pytest.raises(FileNotFoundError, match="frame size is not known"):
        _ = video.width


LASOT_WITHOUT = {name: text for name, text in LASOT_VIDEO.items() if "occlusion" not in name}
ONE = {**images("a/%04d.jpg", 1, 2, 3)}


@pytest.mark.parametrize(
    ("name", "files", "level", "text"),
    [
        (
            "mine",
            {**ONE, "a/groundtruth.txt": lines(2)},
            "error",
            "3 images but 2 boxes in .*groundtruth.txt; it is not known which belong",
        ),
        (
            "mine",
            {**ONE, "a/groundtruth.txt": lines(4)},
            "error",
            "3 images but 4 boxes in .*groundt",
        ),
        (
            "mine",
            {**ONE, "a/groundtruth.txt": "1,2,3\n1,2,x,4\n5,5,5,5\n"},
            "error",
            r"groundtruth.txt: line 1: expected 4 or 8 numbers, got '1,2,3' \(and 1 lines more\)",
        ),
        (
            "mine",
            {**ONE, "a/groundtruth.txt": "1,2,3,4\n\n1,2,3,4\n1,2,3,4\n1,2,3,4\n"},
            "error",
            "3 images but 4 boxes and 1 blank lines",
        ),
        ("mine", {**ONE, "a/groundtruth.txt": "1,2,inf,4\n" * 3}, "error", "line 1: expected 4"),
        ("mine", {**ONE, "a/groundtruth.txt": ""}, "error", "line 1: expected 4 or 8 numbers"),
        (
            "mine",
            {**ONE, "a/groundtruth.txt": b"\xff\xfe\x00"},
            "error",
            r"^[^:]*groundtruth\.txt is not a text file",
        ),
        ("mine", {**ONE, "b/groundtruth.txt": lines(2)}, "error", "a/groundtruth.txt is missing"),
        (
            "mine",
            {**images("a/%04d.jpg", 1, 2, 4, 9), "a/groundtruth.txt": lines(4)},
            "warning",
            "the numbers 3, 5-8 are left out",
        ),
        (
            "mine",
            {**ONE, "a/1.png": IMAGE, "a/groundtruth.txt": lines(4)},
            "error",
            "there are two images of number 1",
        ),
        ("mine", {"a/groundtruth.txt": lines(4)}, "warning", "no images in .*enough to score"),
        (
            "UAV123",
            {
                **images("data_seq/UAV123/bike3/%06d.jpg", 1, 2, 433),
                "anno/UAV123/bike3.txt": lines(433),
            },
            "error",
            "bike3: images 3-432 are missing",
        ),
        ("LaSOT", LASOT_WITHOUT, "error", "full_occlusion.txt is missing: no absent"),
        (
            "LaSOT",
            {**LASOT_VIDEO, "bird-2/full_occlusion.txt": "0,1"},
            "error",
            "full_occlusion.txt has 2 numbers for 3 frames: no absent",
        ),
        (
            "LaSOT",
            {**LASOT_VIDEO, "att/bird-2.txt": "0,1"},
            "warning",
            "bird-2.txt: expected 14 numbers 0 or 1: no attributes",
        ),
        ("LaSOT", LASOT_VIDEO, "error", "airplane-1/groundtruth.txt is missing"),
        ("VOT2018", vot_files(""), "warning", "camera_motion.tag is missing: no camera_motion"),
        (
            "VOT2018",
            {**vot_files(""), "a/occlusion.tag": "0 x"},
            "warning",
            "occlusion.tag: expected numbers only: no occlusion",
        ),
        ("NFS240", {"a/240/a.txt": '0 1 2 "x"\n'}, "error", "a.txt: line 1: expected 4 or 8"),
        (
            "OTB50",
            {**images("Car4/img/%04d.jpg", 1), "Car4/groundtruth_rect.txt": "1 1 1 1"},
            "error",
            "Basketball/groundtruth_rect.txt is missing",
        ),
        (
            "DAVIS2016",
            {
                **images("JPEGImages/480p/cow/%05d.jpg", 0),
                "Annotations/480p/cow/00001.png": mask(0, 0, 1, 1),
            },
            "error",
            "no masks in .*cow",
        ),
        (
            "mine",
            {**ONE, "mine.csv": "video,frame,x,y,w,h\na,1,1,2,3,4\na,8,1,2,3,4\n"},
            "error",
            "mine.csv: no images 8 in",
        ),
    ],
)
def test_faults_are_noted_and_reading_goes_on(build, name, files, level, text):
    _, log = read_records(build(files), name)
    assert any(re.search(text, issue.text) for issue in log.of(level)), list(log)


def test_loading_stops_at_an_error_and_says_how_many_there_are(build, caplog):
    root = build({**ONE, "a/groundtruth.txt": lines(4), **images("b/%d.jpg", 1), "b/b.txt": "x"})
    with pytest.raises(
        ValueError, match=r"video 'a': 3 images but 4.*; 1 more errors \(tools/make"
    ):
        load_videos(root, "mine")
    (root / "b/b.txt").unlink()
    (root / "b/1.jpg").unlink()
    (root / "a/0002.jpg").rename(root / "a/0009.jpg")
    (root / "a/groundtruth.txt").write_text(lines(3))
    assert len(load_videos(root, "mine")["a"]) == 3
    assert "the numbers 2, 4-8 are left out" in caplog.text


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a,1,1,2,3,4\n", r"expected a header with video,frame,x,y,w,h; there is a, 1, 1, 2, 3, 4"),
        ("", "there is nothing"),
        ("video,frame,x,y,w,h\na,1,1,2,3\n", "line 2: expected a whole number and four numbers"),
        ("video,frame,x,y,w,h\na,1.5,1,2,3,4\n", "line 2: expected a whole number"),
        ("video,frame,x,y,w,h\na,1,1,2,3,4\na,1,1,2,3,4\n", "line 3: second box"),
    ],
)
def test_a_table_of_the_wrong_form_is_refused(build, table, message):
    with pytest.raises(ValueError, match=rf"mine\.csv: .*{message}"):
        read_records(build({**ONE, "mine.csv": table}), "mine")


@pytest.mark.parametrize("name", ["mine", "OTB100", "GOT-10k", "DAVIS2017"])
def test_an_unknown_layout_lists_what_was_looked_for(tmp_path, name):
    (tmp_path / "README").touch()
    with pytest.raises(FileNotFoundError, match=rf"no folders of {name} in .*looked for .*\*") as e:
        load_videos(tmp_path, name)
    assert f"no annotation file {tmp_path}/{name}.json: there is no JSON file" in str(e.value)


def test_tracks_of_nfs():
    assert parse_tracks('0 10.5 20 40 60 1 0 0 0 "a"') == [[10.5, 20, 29.5, 40]]


def test_spans():
    assert spans([]) == ""
    assert spans([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert spans([1, 3, 5, 7, 9, 11, 12]) == "1, 3, 5, 7, 9 and 2 more"


# --- one reader for testing and training


def read_both(root, testing, training):
    """Videos that testing and training read, with what each has to say."""
    both = []
    for is_training, reader in ((False, testing), (True, training)):
        reading = Reading(root, IssueLog(), is_training)
        both.append((list(reader(reading)), reading.log))
    return both


def read_own(root):
    return read_both(root, partial(custom.read_folders, name="mine"), custom.read_any)


LINES = "1,2,3,4\n2,2,3,4\n3,2,3,4\n"


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        "\ufeff" + LINES,
        LINES.replace(",", "\t").replace("\n", "\r\n"),
        LINES.replace(",", "; "),
        f"\n{LINES}\n\n",
    ],
)
def test_a_mark_separators_and_blank_ends_do_not_matter(build, text):
    root = build({**images("a/img/%d.jpg", 8, 9, 10), "a/groundtruth.txt": text})
    for videos, log in read_own(root):
        assert not list(log.of("error"))
        assert [path.name for path in videos[0].images] == ["8.jpg", "9.jpg", "10.jpg"]
        assert [tracks[0] for tracks in videos[0].regions] == [[x, 2, 3, 4] for x in (1, 2, 3)]


def test_numbers_of_boxes_to_train_on_are_floats_as_in_pysots_files(build):
    root = build({**images("a/%d.jpg", 1, 2, 3), "a/groundtruth.txt": LINES})
    (tested, _), (trained, _) = read_own(root)
    assert {type(value) for value in tested[0].record(root)["gt_rect"][0]} == {int}
    assert {type(value) for value in next(trained[0].frames()).boxes[0]} == {float}


def test_training_uses_what_is_right_where_testing_refuses(build):
    text = "1,2,3,4\nx\nnan,nan,nan,nan\n3,2,3,4\n"
    root = build({**images("a/%d.jpg", 1, 2, 3, 4), "a/groundtruth.txt": text})
    (tested, refused), (trained, reported) = read_own(root)
    assert [len(video) for video in tested] == [0]
    assert "line 2: expected 4 or 8 numbers, got 'x'" in refused.of("error")[0].text
    assert [frame.number for frame in trained[0].frames()] == [0, 3]
    (issue,) = reported
    assert (issue.kind, issue.text) == ("unusable line", "x")
    assert issue.where.endswith("groundtruth.txt, line 2")


def test_two_images_of_one_number_cannot_be_paired(build):
    files = {**images("a/%d.jpg", 1, 2), "a/2.png": IMAGE, "a/groundtruth.txt": LINES}
    for videos, log in read_own(build(files)):
        assert [len(video) for video in videos] == [0]
        assert "there are two images of number 2" in log.of("error")[0].text


def test_a_polygon_is_kept_to_test_on_and_boxed_to_train_on(build):
    root = build({**images("a/color/%d.jpg", 1), "a/groundtruth.txt": "5,0,10,5,5,10,0,5"})
    (tested, _), (trained, _) = read_own(root)
    assert tested[0].record(root)["gt_rect"] == [[5, 0, 10, 5, 5, 10, 0, 5]]
    (frame,) = trained[0].frames()
    assert frame.boxes == {0: (0, 0, 10, 10)} and frame.image.parent.name == "color"


def test_lasot_is_absent_in_both_where_either_file_says_so(build):
    files = {
        **below("bird", LASOT_VIDEO),
        "bird/bird-2/full_occlusion.txt": "0,1,0",
        "bird/bird-2/out_of_view.txt": "0,0,1",
    }
    both = read_both(build(files), tracking.read_lasot, tracking.read_lasot)
    for (videos, _), expected in zip(both, ([1, 0, 0], [True, False, False]), strict=True):
        video = next(video for video in videos if video.name == "bird-2")
        assert (video.flags.get("absent") or video.visible) == expected
        assert video.categories == {0: "bird"}


def test_a_file_of_absence_that_is_not_of_the_boxes_leaves_the_video_out(build):
    for flags in ("0,1", "0,1,0,1"):
        root = build(below("bird", {**LASOT_VIDEO, "bird-2/full_occlusion.txt": flags}))
        both = read_both(root, tracking.read_lasot, tracking.read_lasot)
        for _, log in both:
            assert any("numbers for 3 frames" in issue.text for issue in log.of("error"))
        assert [len(video) for video in both[1][0]] == [0]


def test_labels_of_16_bits_are_other_objects_than_their_low_bytes(build):
    deep = np.zeros((6, 8), np.uint16)
    deep[1:3, 1:5], deep[4:6, 0:2] = 300, 44
    files = {**images("JPEGImages/480p/a/%05d.jpg", 7), "Annotations/480p/a/00007.png": deep}
    read = partial(davis.read, year=2017, split="all")
    (tested, _), (trained, _) = read_both(build(files), read, read)
    assert tested[0].record(Path())["gt_rect"][0] == [0, 1, 5, 5]
    (frame,) = trained[0].frames()
    assert frame.number == 7
    assert label_boxes(read_labels(frame.labels)) == {44: (0, 4, 2, 6), 300: (1, 1, 5, 3)}


def test_corners_are_neither_rounded_to_train_nor_to_test_on():
    box = Corners(0.1, 0.2, 0.3, 0.7)
    video = Sequence("a", ["a.jpg"], [{0: box}])
    assert next(video.frames()).boxes == {0: (0.1, 0.2, 0.3, 0.7)}
    assert video.record(Path())["gt_rect"] == [[0.1, 0.2, 0.3 - 0.1, 0.7 - 0.2]]


def test_a_second_box_of_a_track_is_named(build):
    rows = "video,frame,image,x,y,w,h,track\na,0,a.jpg,1,2,3,4,0\na,0,a.jpg,9,2,3,4,0\n"
    root = build({"boxes.csv": rows})
    reading = Reading(root / "boxes.csv", IssueLog(), training=True)
    (video,) = custom.read_any(reading)
    assert video.regions == [{0: [1, 2, 3, 4]}]
    assert [issue.where[-6:] for issue in reading.log.of("error")] == ["line 3"]


def test_a_module_in_the_folder_of_formats_is_enough_for_a_new_set(tmp_path, monkeypatch):
    module = """
from toolkit.datasets.reading import BoxFile, Format, TrainingSet, read_boxes

def read(reading):
    for path in sorted(reading.root.glob("*.boxes")):
        yield read_boxes(BoxFile(path.stem, reading.root / path.stem, path), reading)

TESTING = {"Foo": Format(("*.boxes",), read)}
TRAINING = {"foo": TrainingSet("Foo", "folder of *.boxes", read)}
"""
    (tmp_path / "foo.py").write_text(module)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    monkeypatch.setattr(formats, "testing_formats", formats.testing_formats.__wrapped__)
    for name in ("a/1.jpg", "a/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(IMAGE)
    (tmp_path / "a.boxes").write_text(lines(2))
    assert load_videos(tmp_path, "Foo")["a"].boxes.tolist() == boxes(2)
    assert "foo" in formats.training_sets.__wrapped__()


SEQUENCES = Path(os.environ.get("PYSOT_SHARED", Path(__file__).parents[3] / "shared"))
SEQUENCES = SEQUENCES / "data" / "sequences"


@pytest.mark.data
@pytest.mark.skipif(not (SEQUENCES / "davis2016_val").is_dir(), reason="needs real sequences")
def test_boxes_of_davis_are_those_of_its_json():
    root = SEQUENCES / "davis2016_val"
    native, converted = load_videos(root, "DAVIS2016"), load_videos(root, "DAVIS_rect")
    assert list(native) == list(converted) and len(native) == 20
    for name in list(native)[:4]:
        assert native[name].img_names == converted[name].img_names
        assert list(native[name].gt_traj[::20]) == converted[name].gt_traj[::20]


@pytest.mark.data
@pytest.mark.skipif(not (SEQUENCES / "uav123_10fps_half").is_dir(), reason="needs real sequences")
def test_uav_in_its_own_folders_is_what_its_json_has(tmp_path):
    converted = load_videos(SEQUENCES / "uav123_10fps_half", "UAV123_10fps_half")
    (tmp_path / "data_seq").mkdir()
    (tmp_path / "data_seq/UAV123_10fps").symlink_to(SEQUENCES / "uav123_10fps_half" / "seq")
    truths = tmp_path / "anno/UAV123_10fps"
    truths.mkdir(parents=True)
    for name, video in converted.items():
        np.savetxt(truths / f"{name}.txt", video.boxes, "%g", ",")
    records, _ = read_records(tmp_path, "UAV123_10fps")
    assert set(records) == set(converted)
    for name, video in converted.items():
        np.testing.assert_array_equal(records[name]["gt_rect"], video.boxes)
        names = [image.split("/", 2)[2] for image in records[name]["img_names"]]
        assert names == [os.path.relpath(path, video.root / "seq") for path in video.img_names]
