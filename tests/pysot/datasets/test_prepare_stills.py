"""Preparation of stills with masks, of benchmarks in PySOT's JSON, and of some videos of a set."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pysot.cli.prepare import main
from pysot.core import RunFailed
from pysot.core.config import default_config
from pysot.datasets.annotation import read_annotations
from pysot.datasets.build import build_train_dataset

SIZE = (80, 60)


def write_image(path, size=SIZE, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(noise, size))


def write_mask(path, box, size=SIZE, value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y, w, h = box
    mask = np.zeros(size[::-1], np.uint8)
    mask[y : y + h, x : x + w] = value
    assert cv2.imwrite(str(path), mask)


def prepare(root, output, *options):
    """Prepare in this process; returns its error and what is in the report."""
    try:
        main(["own", "--root", str(root), "--output", str(output), "--workers", "1", *options])
        error = ""
    except (RunFailed, ValueError, OSError) as found:
        error = str(found)
    report = Path(output) / "problems.txt"
    return error, report.read_text() if report.is_file() else ""


def boxes(output):
    return json.loads((output / "train.json").read_text())


@pytest.fixture
def stills(tmp_path):
    """Three stills, two of them with masks that lie apart."""
    for seed, name in enumerate(("n01_cat.jpg", "n02_dog.jpg", "sub/boat.png")):
        write_image(tmp_path / "stills" / name, seed=seed)
    write_mask(tmp_path / "masks" / "n01_cat.png", (10, 12, 30, 20))
    write_mask(tmp_path / "masks" / "sub" / "boat.png", (40, 5, 20, 30))
    return tmp_path / "stills", tmp_path / "masks"


def test_each_still_with_a_mask_is_a_video_of_one_frame(stills, tmp_path):
    root, masks = stills
    error, report = prepare(root, tmp_path / "out", "--stills", "--masks", str(masks))
    assert (
        error == ""
        and report == f"note: still without a mask: {root}/n02_dog.jpg: it is not used\n"
    )
    assert boxes(tmp_path / "out") == {
        "n01_cat": {"01": {"000000": [10, 12, 40, 32]}},
        "sub/boat": {"01": {"000000": [40, 5, 60, 35]}},
    }
    crop = tmp_path / "out" / "crop511" / "n01_cat" / "000000.01.m.png"
    mask = cv2.imread(str(crop), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == (511, 511) and mask[255, 255] == 255 and not mask[5, 5]


def test_a_label_map_gives_a_track_for_each_object(tmp_path):
    write_image(tmp_path / "a.jpg")
    labels = np.zeros((60, 80), np.uint8)
    labels[5:25, 5:25], labels[30:50, 40:70] = 1, 2
    (tmp_path / "mask").mkdir()
    cv2.imwrite(str(tmp_path / "mask" / "a.png"), labels)
    assert prepare(tmp_path, tmp_path / "out", "--stills") == ("", "")
    tracks = {"01": {"000000": [5, 5, 25, 25]}, "02": {"000000": [40, 30, 70, 50]}}
    assert boxes(tmp_path / "out") == {"a": tracks}


def test_a_pair_of_a_still_is_two_views_of_it(stills, tmp_path):
    prepare(stills[0], tmp_path / "out", "--stills", "--masks", str(stills[1]))
    cfg = default_config()
    row = {"ROOT": str(tmp_path / "out" / "crop511"), "ANNO": str(tmp_path / "out" / "train.json")}
    dataset = {"NAMES": ["STILLS"], "STILLS": row, "NEG": 0.5, "VIDEOS_PER_EPOCH": 40}
    cfg.merge_from_other_cfg({"DATASET": dataset, "MASK": {"MASK": True}})
    pairs = build_train_dataset(cfg, seed=0)
    sets = [pairs.draw_pair(*pairs.pick(n), np.random.default_rng(n)) for n in range(40)]
    assert {(a.video == b.video, differ) for a, b, differ in sets} == {(True, False), (False, True)}
    assert pairs[0]["template"].shape == (3, 127, 127)


def test_what_is_wrong_with_masks_of_stills_is_one_line_each(stills, tmp_path):
    root, masks = stills
    write_mask(masks / "n01_cat.png", (1, 1, 5, 5), size=(40, 30))
    write_mask(masks / "n09_bird.png", (1, 1, 5, 5))
    write_mask(masks / "sub" / "boat.png", (0, 0, 1, 1), value=0)
    (masks / "n02_dog.png").write_bytes(b"no image")
    error, report = prepare(root, tmp_path / "out", "--stills", "--masks", str(masks))
    assert "no usable box was found" in error
    assert sorted(line.split(": ")[0] for line in report.splitlines()) == [
        "mask of another size than its image",
        "mask without an image",
        "unreadable mask",
    ]
    assert f"{masks}/n01_cat.png: 40 x 30, image 80 x 60" in report
    assert not (tmp_path / "out" / "train.json").exists()


def test_two_stills_of_one_name_are_told_apart(stills, tmp_path):
    root, masks = stills
    write_image(root / "n01_cat.png", seed=9)
    error, report = prepare(root, tmp_path / "out", "--stills", "--masks", str(masks))
    assert "1 problems" in error
    assert (
        f"two stills of one name: {root}/n01_cat.png: the other one is {root}/n01_cat.jpg" in report
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--stills"], "found no masks, named as the images, in"),
        (["--stills", "--masks", "{}/nowhere"], "no such file or folder: "),
    ],
)
def test_stills_need_their_masks(stills, tmp_path, options, text):
    options = [option.format(tmp_path) for option in options]
    assert text in prepare(stills[0], tmp_path / "out", *options)[0]


def test_stills_that_are_taken_as_a_video_are_doubted(tmp_path):
    for number, size in enumerate(((80, 60), (60, 80))):
        write_image(tmp_path / f"{number}.jpg", size)
        write_mask(tmp_path / "mask" / f"{number}.png", (5, 5, 20, 20), size)
    error, report = prepare(tmp_path, tmp_path / "out", "--check")
    assert error == "" and "images taken as one video" in report and "--stills" in report
    assert prepare(tmp_path, tmp_path / "out", "--check", "--stills") == ("", "")


# --- PySOT's JSON


@pytest.fixture
def benchmark(tmp_path):
    """Two videos of a JSON as tests read it; the second has a mask, and is absent once."""
    records = {}
    for name, truth in (("car", [[5, 6, 20, 10]] * 2), ("cat", [[30, 20, 20, 20], None])):
        names = [f"seq/{name}/{number:06d}.jpg" for number in (1, 2)]
        for number, image in enumerate(names):
            write_image(tmp_path / image, seed=number)
        records[name] = {"video_dir": name, "img_names": names, "gt_rect": truth}
        records[name]["init_rect"] = truth[0]
    write_mask(tmp_path / "seq" / "cat" / "mask" / "000001.png", (30, 20, 20, 20))
    (tmp_path / "Set.json").write_text(json.dumps(records))
    return tmp_path / "Set.json"


def test_a_benchmark_in_pysots_json_is_prepared_with_its_masks(benchmark, tmp_path):
    assert prepare(benchmark, tmp_path / "out") == ("", "")
    assert boxes(tmp_path / "out") == {
        "car": {"00": {"000000": [5, 6, 25, 16], "000001": [5, 6, 25, 16]}},
        "cat": {"00": {"000000": [30, 20, 50, 40]}},
    }
    masks = sorted(p.parent.name for p in (tmp_path / "out").rglob("*.m.png"))
    assert masks == ["cat"]


def test_images_of_a_json_may_lie_elsewhere(benchmark, tmp_path):
    (tmp_path / "lists").mkdir()
    moved = benchmark.rename(tmp_path / "lists" / "Set.json")
    assert prepare(moved, tmp_path / "out", "--images", str(tmp_path))[0] == ""
    assert set(boxes(tmp_path / "out")) == {"car", "cat"}


def test_a_video_of_a_json_that_cannot_be_used_is_named(benchmark, tmp_path):
    records = json.loads(benchmark.read_text())
    records["car"]["gt_rect"] = [[1, 2, 3], [4, 5, 6]]
    benchmark.write_text(json.dumps(records))
    error, report = prepare(benchmark, tmp_path / "out")
    assert "1 problems" in error and set(boxes(tmp_path / "out")) == {"cat"}
    assert f"unusable video: {benchmark}: car: gt_rect[0]: expected 4 or 8 numbers" in report


# --- some videos of a set


def test_videos_are_chosen_and_left_out_by_name_or_pattern(benchmark, tmp_path):
    for options, names in (
        (["--without", "cat"], {"car"}),
        (["--videos", "ca*", "--without", "car"], {"cat"}),
        (["--videos", "c?r"], {"car"}),
    ):
        assert prepare(benchmark, tmp_path / "out", *options)[0] == ""
        known = read_annotations(tmp_path / "out" / "train.json")
        assert set(known.videos) == names
        left = {path.parent.name for path in (tmp_path / "out").rglob("*.x.jpg")}
        assert left == names  # what an earlier run wrote of the others is gone


@pytest.mark.parametrize("option", ["--videos", "--without"])
def test_a_name_that_is_no_video_stops_before_anything_is_written(benchmark, tmp_path, option):
    error, _ = prepare(benchmark, tmp_path / "out", option, "cats")
    assert error == f"{option} cats: not in {benchmark}; there is cat"
    assert not (tmp_path / "out").exists()
