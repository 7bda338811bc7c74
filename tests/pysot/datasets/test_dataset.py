import json
import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from training_crops import boxless_config, tiny_config, write_training_set

from pysot.core.config import load_config
from pysot.datasets.annotation import read_annotations
from pysot.datasets.build import build_train_dataset, build_train_loader
from pysot.datasets.dataset import (
    RunBatches,
    as_floats,
    box_in_crop,
    collate,
    generator,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "train" / "geometry.json").read_text())


@pytest.fixture
def folder(tmp_path):
    write_training_set(tmp_path)
    return tmp_path


def build(folder, *opts, seed=5):
    return build_train_dataset(load_config(tiny_config(folder), opts), seed)


def annotate(tmp_path, content):
    path = tmp_path / "train.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[key], second[key]) for key in first
    )


# --- annotations


def test_annotations_keep_what_is_usable(tmp_path):
    path = annotate(
        tmp_path,
        {
            "a": {"00": {"000003": [0, 0, 4, 6], "000001": [5, 7], "notes": "ignored"}},
            "b": {"01": {"000000": [5, 5, 5, 9]}},  # no width: the track and the video go
            "c": {},
            "d": {"07": {}, "08": {"000009": [1.5, 2, 4, 2.5]}},
        },
    )
    notes = read_annotations(path)
    assert notes.videos == ("a", "d")
    assert notes.tracks == ("00", "08")
    assert notes.first_track.tolist() == [0, 1, 2]
    assert notes.first_row.tolist() == [0, 2, 3]
    assert notes.frames.tolist() == [1, 3, 9]
    assert notes.sizes.tolist() == [[5, 7], [4, 6], [2.5, 0.5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ([], r"expected an object of videos, found \[\]"),
        ("[" * 100_000, "not a JSON file"),
        ({"a": []}, r"videos that are no object of tracks: 1, the first a: \[\]"),
        ({"a": {"00": 3}}, r"tracks that are no object of frames: 1, the first a, track 00: 3"),
        (
            {"a": {"00": {"0": [1, 2, 3]}}},
            r"no usable box: boxes that are not \[x1.*track 00, frame 0",
        ),
        ({"a": {"00": {"0.jpg": [0, 0, 1, 1]}}}, r"frame keys that are file names.*frame 0\.jpg"),
        ({}, "no usable box: it has no boxes"),
    ],
)
def test_wrong_annotations_are_one_error(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_annotations(annotate(tmp_path, content))


UNUSABLE = {
    "000000": [30, 30, 10, 15],
    "000001": [10, 15, 10, 20],
    "000002": [-9, 4],
    "000003": [1, 2, 3],
    "000004": [1, 2, 3, "4"],
    "000005": [1, 2, True, 4],
    "000006": None,
    "000007": [1, 2, math.nan, 4],
    "000008": [1, 2, 10**400, 4],
    "000009": [-1e308, 2, 1e308, 4],
    "000010": [-20, 5, -10, 9],
    "000011.jpg": [1, 2, 3, 4],
    "img_000011.png": [1, 2, 3, 4],
    "1.0": [1, 2, 3, 4],
    "-1": [1, 2, 3, 4],
    "9" * 201: [1, 2, 3, 4],
    "12": [5, 5],
    "000012": [6, 6],
}
WARNINGS = [
    "boxes without area (expected corners x1 < x2 and y1 < y2, or width and height): 4, the first "
    "v, track 00, frame 000000: [30, 30, 10, 15]",
    "boxes that are not [x1, y1, x2, y2] or [w, h]: 4, the first v, track 00, frame 000003: [1,",
    "boxes with numbers that are not finite or beyond 1e+06: 3, the first v, track 00, frame 00000",
    "boxes left of or above their image: 1, the first v, track 00, frame 000010: [-20, 5, -10, 9]",
    "frame keys that are file names (expected digits alone: 000001, not 000001.jpg): 2, the first "
    "v, track 00, frame 000011.jpg: [1, 2, 3, 4]",
    "frame keys that are no numbers (expected digits alone, as 000001): 3, the first v, track 00, ",
    "boxes of a frame that has one already: 1, the first v, track 00, frame 000012: [6, 6]",
    "tracks without a usable box: 1, the first w, track 01",
    "videos without a usable box: 1, the first w",
]


def test_what_annotations_leave_out_is_counted_by_kind(tmp_path, caplog):
    path = annotate(tmp_path, {"v": {"00": UNUSABLE}, "w": {"01": {"3": [0, 0]}}, "empty": {}})
    notes = read_annotations(path)
    assert (notes.frames.tolist(), notes.sizes.tolist()) == ([12], [[5, 5]])
    assert notes.left_out == len(UNUSABLE) - 1 + 1
    messages = [record.getMessage().removeprefix(f"{path}: ") for record in caplog.records]
    assert len(messages) == len(WARNINGS)
    for message, start in zip(messages, WARNINGS, strict=True):
        assert message.startswith(start)


def test_good_annotations_are_no_warning(tmp_path, caplog):
    read_annotations(annotate(tmp_path, {"a": {"00": {"1": [0, 0, 9, 9]}, "01": {}}, "b": {}}))
    assert not caplog.records


def test_frame_numbers_are_exact(tmp_path):
    numbers = [7, 1403636579763555585, 2**63, 10**30 + 1]
    boxes = {str(number): [5, 5] for number in numbers}
    assert read_annotations(annotate(tmp_path, {"a": {"00": boxes}})).frames.tolist() == numbers
    boxes = {str(number): [5, 5] for number in numbers[:2]}
    assert read_annotations(annotate(tmp_path, {"a": {"00": boxes}})).frames.dtype == np.int64


def test_a_video_that_comes_twice_is_a_warning(tmp_path, caplog):
    read_annotations(annotate(tmp_path, '{"a": {"0": {"1": [5, 5]}}, "a": {"0": {"2": [5, 5]}}}'))
    assert "keys given more than once, of which the last counts: 1, the first a" in caplog.text


def test_crops_that_are_missing_are_counted_before_the_training(folder, caplog):
    (folder / "crop511" / "v1" / "000001.00.x.jpg").unlink()
    build(folder)
    assert "MINI.ROOT: 1 of 12 crops looked for are missing, the first: " in caplog.text
    assert "v1/000001.00.x.jpg" in caplog.text
    with pytest.raises(
        FileNotFoundError, match=r"12 of 12 crops looked for.*v0/000000\.00\.x\.jpg"
    ):
        build(folder, "DATASET.MINI.ROOT", str(folder))


@pytest.mark.parametrize("shape", [(511, 300), (254, 254)])
def test_odd_crops_are_a_warning(folder, caplog, shape):
    for path in (folder / "crop511").glob("*/*.jpg"):
        cv2.imwrite(str(path), np.zeros((*shape, 3), np.uint8))
    sample = build(folder)[0]
    text = f"v0/000000.00.x.jpg has {shape[1]} x {shape[0]} pixels; expected a square crop of at"
    assert text in caplog.text
    assert sample["search"].shape == (3, 255, 255)


def test_missing_annotations_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        read_annotations(tmp_path / "nowhere.json")


# --- boxes and images


@pytest.mark.parametrize("case", GOLDEN["get_bbox"])
def test_boxes_in_crops_are_those_of_pysot(case):
    shape = case["shape"]
    size = np.array(shape[-2:]) - (shape[:2] if len(shape) == 4 else 0)
    assert box_in_crop(tuple(case["imhw"]), size) == pytest.approx(case["box"])


@pytest.mark.parametrize("side", [111, 127, 143])
def test_labels_show_crops_as_they_were_cut_for_templates_of_any_side(folder, side):
    assert np.diff(box_in_crop((511, 511), np.array([20, 15]), side)[::2]) == pytest.approx(
        72.8, abs=0.05
    )
    still = [x for image in ("TEMPLATE", "SEARCH") for key in ("SHIFT", "SCALE")
             for x in (f"DATASET.{image}.{key}", "0")]  # fmt: skip
    dataset = build(folder, "TRAIN.EXEMPLAR_SIZE", str(side), "DATASET.NEG", "0", *still)
    sample = dataset[0]
    video = dataset.pick(0)[1]
    width, height = 40 + 10 * video, 60
    expected = 127 * width / math.sqrt((1.5 * width + 0.5 * height) * (0.5 * width + 1.5 * height))
    assert sample["template"].shape == (3, side, side)
    assert sample["bbox"][2] - sample["bbox"][0] == pytest.approx(expected, abs=1)


# --- samples


def test_a_sample_has_the_promised_parts(folder):
    sample = build(folder)[3]
    kinds = {key: (v.shape, str(v.dtype)) for key, v in sample.items() if key != "bad_images"}
    assert kinds == {
        "template": ((3, 127, 127), "uint8"),
        "search": ((3, 255, 255), "uint8"),
        "template_offset": ((3,), "float32"),
        "search_offset": ((3,), "float32"),
        "label_cls": ((5, 17, 17), "int64"),
        "label_loc": ((4, 5, 17, 17), "float32"),
        "label_loc_weight": ((5, 17, 17), "float32"),
        "bbox": ((4,), "float64"),
    }
    assert sample["bad_images"] == []


def test_a_head_without_boxes_gets_a_map_around_the_target(folder):
    cfg = load_config(boxless_config(folder), ["DATASET.NEG", "0.0", "DATASET.SEARCH.SHIFT", "40"])
    dataset = build_train_dataset(cfg, 5)
    middles = []
    for sample in (dataset[item] for item in range(6)):
        assert sample.keys() - {"template_offset", "search_offset"} == {
            "template", "search", "label_cls", "bbox", "bad_images"
        }  # fmt: skip
        cells = np.argwhere(sample["label_cls"][0])
        middles.append(127 + 8 * (cells.mean(axis=0)[::-1] - 8))  # x, y in pixels
        assert np.abs(middles[-1] - sample["bbox"].reshape(2, 2).mean(axis=0)).max() <= 4
    assert np.ptp(middles, axis=0).min() > 16  # the map moves with the target


def test_a_pair_of_different_objects_has_no_positive_cell(folder):
    cfg = load_config(boxless_config(folder), ["DATASET.NEG", "1.0"])
    sample = build_train_dataset(cfg, 5)[0]
    assert sample["label_cls"].shape == (1, 17, 17)
    assert not sample["label_cls"].any()


def test_samples_depend_on_seed_and_item_alone(folder):
    dataset = build(folder)
    samples = [dataset[item] for item in range(4)]
    again = build(folder)
    assert same(again[2], samples[2])  # without the ones before it
    assert same(again[0], samples[0])
    assert not same(samples[0], samples[1])
    assert not same(build(folder, seed=6)[0], samples[0])
    assert not same(dataset[8], samples[0])  # the same index in the next epoch


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_change_nothing(folder, context):
    dataset = build(folder)
    batches = RunBatches(8, 2, 0, 1)
    here = list(DataLoader(dataset, batch_sampler=batches, collate_fn=collate))
    there = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=2 if context == "fork" else 1,
        multiprocessing_context=context,
    )
    for first, second in zip(here, there, strict=True):
        assert same(first, second)


def test_every_pass_shows_each_video_as_often_as_asked(folder):
    dataset = build(folder, "DATASET.MINI.NUM_USE", "6")
    for number in range(3):
        videos = Counter(dataset.pick(number * 6 + place)[1] for place in range(6))
        assert sorted(videos) == [0, 1, 2, 3]
        assert max(videos.values()) <= 2  # whole shuffles, then a part of one
    orders = [[dataset.pick(n * 6 + p)[1] for p in range(6)] for n in range(3)]
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_other_videos_get_their_turn_in_the_next_pass(folder):
    dataset = build(folder, "DATASET.MINI.NUM_USE", "2")
    passes = [{dataset.pick(2 * n)[1], dataset.pick(2 * n + 1)[1]} for n in range(10)]
    assert all(len(videos) == 2 for videos in passes)
    assert set.union(*passes) == {0, 1, 2, 3}


def test_several_sets_are_mixed(folder):
    config = json.loads(tiny_config(folder).read_text())
    config["DATASET"]["NAMES"] = ["MINI", "OTHER"]
    config["DATASET"]["OTHER"] = dict(config["DATASET"]["MINI"], NUM_USE=2)
    (folder / "two.yaml").write_text(json.dumps(config))
    dataset = build_train_dataset(load_config(folder / "two.yaml"), 0)
    names = [dataset.pick(item)[0].name for item in range(6)]
    assert Counter(names) == {"MINI": 4, "OTHER": 2}


def test_positive_pairs_stay_within_the_frame_range(tmp_path):
    write_training_set(tmp_path, videos=2, frames=9)
    dataset = build(tmp_path, "DATASET.NEG", "0.0", "DATASET.MINI.FRAME_RANGE", "2")
    distances = set()
    for item in range(150):
        template, search, neg = dataset.draw_pair(*dataset.pick(item), generator(1, 0, 0, item, 0))
        assert not neg
        assert (template.video, template.track) == (search.video, search.track)
        distances.add(search.frame - template.frame)
    assert distances == {-2, -1, 0, 1, 2}


def test_negative_pairs_label_background_only(folder):
    dataset = build(folder, "DATASET.NEG", "1.0")
    samples = [dataset[item] for item in range(6)]
    assert all((sample["label_cls"] < 1).all() for sample in samples)
    assert any((sample["label_cls"] == 0).any() for sample in samples)


def test_gray_takes_the_colors_of_both_images(folder):
    sample = build(
        folder, "DATASET.GRAY", "1.0", "DATASET.TEMPLATE.COLOR", "0", "DATASET.SEARCH.COLOR", "0"
    )[0]
    for image in (sample["template"], sample["search"]):
        assert np.array_equal(image[0], image[2])


# --- masks


@pytest.fixture
def masked(folder):
    """The set with masks of its rectangles; video v1 has none."""
    for path in (folder / "crop511").glob("v[023]/*.x.jpg"):
        mask = np.zeros((511, 511), np.uint8)
        mask[220:291, 230:281] = 255
        cv2.imwrite(str(path).replace(".x.jpg", ".m.png"), mask)
    return folder


def with_masks(folder, *opts):
    more = ("MASK.MASK", "true", "DATASET.NEG", "0", "DATASET.SEARCH.COLOR", "0", *opts)
    return build(folder, *more)


def test_a_mask_moves_with_its_image(masked):
    dataset = with_masks(masked, "DATASET.SEARCH.FLIP", "0.5", "DATASET.SEARCH.SHIFT", "40")
    seen = 0
    for item in range(8):
        sample = dataset[item]
        assert sample["label_mask"].shape == (255, 255) and sample["label_mask"].dtype == np.int8
        assert set(np.unique(sample["label_mask"])) <= {-1, 1}
        target = sample["label_mask"] > 0
        if target.any():  # the rectangles' red is 255, the noise's below 90
            seen += 1
            assert ((sample["search"][2] > 170) == target).mean() > 0.995
    assert seen > 3


def test_masks_are_learnt_at_cells_with_a_positive_anchor(masked):
    dataset = with_masks(masked)
    videos = [dataset.pick(item)[1] for item in range(4)]
    for item, video in enumerate(videos):
        sample = dataset[item]
        positive = (sample["label_cls"] == 1).any(axis=0)
        assert positive.any() and sample["label_mask_weight"].dtype == np.float32
        expected = np.zeros_like(positive) if video == 1 else positive  # v1 has no masks
        assert np.array_equal(sample["label_mask_weight"], expected)


def test_pairs_of_different_objects_teach_no_mask(masked):
    sample = build(masked, "MASK.MASK", "true", "DATASET.NEG", "1")[0]
    assert not sample["label_mask_weight"].any()


def test_masks_change_no_draw(masked):
    plain, sample = build(masked)[2], build(masked, "MASK.MASK", "true")[2]
    assert all(np.array_equal(value, sample[key]) for key, value in plain.items())


def test_a_damaged_mask_is_an_unreadable_image(masked):
    for path in (masked / "crop511").glob("*/*.m.png"):
        path.write_bytes(b"broken")
    sample = with_masks(masked)[0]
    assert any(".m.png" in message for message in sample["bad_images"])


def test_a_mask_of_another_size_than_its_crop_is_an_unreadable_image(masked):
    for path in (masked / "crop511").glob("*/*.m.png"):
        cv2.imwrite(str(path), np.zeros((255, 511), np.uint8))
    messages = with_masks(masked)[0]["bad_images"]
    assert any(".m.png: 511 x 255 pixels, its crop has 511 x 511" in text for text in messages)


def test_sets_without_masks_cannot_teach_them(folder):
    with pytest.raises(ValueError, match=r"MASK\.MASK: no training set has masks"):
        with_masks(folder)
    with_masks(folder, "TRAIN.MASK_WEIGHT", "0")  # boxes alone


# --- still images and kinds


def test_still_images_make_pairs(tmp_path):
    write_training_set(tmp_path, frames=1)
    dataset = build(tmp_path, "DATASET.NEG", "0", "DATASET.MINI.FRAME_RANGE", "1")
    for item in range(4):
        template, search, _ = dataset.draw_pair(*dataset.pick(item), generator(1, item))
        assert (template.video, template.frame) == (search.video, search.frame)
        assert not np.array_equal(
            dataset[item]["search"][:, 64:-64, 64:-64], dataset[item]["template"]
        )


def name_kinds(folder, *kinds):
    content = {f"v{video}": {"00": kind} for video, kind in enumerate(kinds) if kind}
    (folder / "train.categories.json").write_text(json.dumps(content))


def negatives_of(folder, share):
    dataset = build(folder, "DATASET.NEG", "1", "DATASET.NEG_SAME_CATEGORY", share)
    pairs = Counter()
    for item in range(200):
        template, search, neg = dataset.draw_pair(*dataset.pick(item), generator(1, item))
        assert neg
        pairs[template.video, search.video] += 1
    return pairs


def test_negatives_of_one_kind_or_of_others(folder):
    name_kinds(folder, "dog", "cat", "dog", "cat")
    alike = {("v0", "v2"), ("v2", "v0"), ("v1", "v3"), ("v3", "v1")}
    assert set(negatives_of(folder, "1.0")) == alike
    others = negatives_of(folder, "0.0")
    assert len(others) == 8 and not set(others) & alike and all(a != b for a, b in others)
    mixed = negatives_of(folder, "0.25")
    assert sum(mixed[pair] for pair in alike) / 200 == pytest.approx(0.25, abs=0.08)


def test_without_kinds_negatives_come_from_other_videos(folder):
    pairs = negatives_of(folder, "0.5")
    assert len(pairs) == 12 and all(a != b for a, b in pairs)


def test_what_has_no_kind_or_no_likes_gets_another_object(folder):
    name_kinds(folder, "dog", None, "cat", "cat")
    pairs = negatives_of(folder, "1.0")
    assert {b for a, b in pairs if a == "v0"} == {"v1", "v2", "v3"}  # the only dog
    assert {b for a, b in pairs if a == "v1"} == {"v0", "v2", "v3"}  # of no kind
    assert {b for a, b in pairs if a == "v2"} == {"v3"}


def drawn(dataset, number=60):
    """Objects of template and search image of some pairs, and whether they count as different."""
    pairs = (dataset.draw_pair(*dataset.pick(n), generator(1, n)) for n in range(number))
    return [((z.video, z.track), (x.video, x.track), neg) for z, x, neg in pairs]


@pytest.mark.parametrize("share", ["-1", "0", "0.5", "1"])
@pytest.mark.parametrize("sets", ["[MINI]", "[MINI, TWIN]"])
def test_one_object_makes_no_negative_pair(tmp_path, caplog, share, sets):
    write_training_set(tmp_path, videos=1)
    twin = [x for key, name in (("ROOT", "crop511"), ("ANNO", "train.json"))
            for x in (f"DATASET.TWIN.{key}", str(tmp_path / name))]  # fmt: skip
    opts = ["DATASET.NEG", "1", "DATASET.NEG_SAME_CATEGORY", share, *twin, "DATASET.NAMES", sets]
    dataset = build(tmp_path, *opts)
    assert "DATASET.NEG: the training sets hold one object; no pair shows two" in caplog.text
    assert {neg for *_, neg in drawn(dataset)} == {False}
    assert any((dataset[item]["label_cls"] == 1).any() for item in range(3))


@pytest.mark.parametrize("share", ["-1", "0", "0.5", "1"])
@pytest.mark.parametrize("tracks", [("00", "01"), ("00",)])
def test_negative_pairs_never_show_one_object(tmp_path, caplog, share, tracks):
    boxes = {"000000": [40, 60], "000001": [40, 60]}
    videos = ["v0"] if len(tracks) > 1 else ["v0", "v1"]
    write_training_set(tmp_path, videos=2)
    annotate(tmp_path, {video: dict.fromkeys(tracks, boxes) for video in videos})
    content = {video: dict.fromkeys(tracks, 7) for video in videos}  # all of one category
    (tmp_path / "train.categories.json").write_text(json.dumps(content))
    dataset = build(tmp_path, "DATASET.NEG", "1", "DATASET.NEG_SAME_CATEGORY", share)
    assert all(neg and template != search for template, search, neg in drawn(dataset))
    assert "hold one object" not in caplog.text
    assert ("name 1 categories" in caplog.text) == (share in ("0", "0.5"))


def test_by_default_the_second_object_is_any_other(folder):
    name_kinds(folder, "dog", "cat", "dog", "cat")
    assert len(negatives_of(folder, "-1.0")) == 12


@pytest.mark.parametrize(
    ("content", "share", "message"),
    [
        ("[]", "0.5", "categories.json: expected an object of videos"),
        ('{"v0": "dog"}', "0.5", "categories.json: v0: expected an object of names by track"),
        ("{}", "1.5", "NEG_SAME_CATEGORY is 1.5; expected a number of 1 or less"),
    ],
)
def test_wrong_kinds_are_named(folder, content, share, message):
    (folder / "train.categories.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        build(folder, "DATASET.NEG_SAME_CATEGORY", share)


def test_a_batch_becomes_floats_by_subtracting_its_colors(folder):
    batch = collate([build(folder)[0], build(folder)[1]])
    floats = as_floats(batch)
    assert floats.keys() == batch.keys() - {"template_offset", "search_offset"}
    for key in ("template", "search"):
        assert floats[key].dtype == torch.float32
        difference = batch[key] - floats[key]
        expected = batch[f"{key}_offset"][:, :, None, None].expand_as(difference)
        torch.testing.assert_close(difference, expected, atol=1e-4, rtol=0)
        assert batch[f"{key}_offset"].abs().min() > 0


# --- unreadable images


def test_a_bad_image_is_replaced_the_same_way_every_time(folder):
    for path in (folder / "crop511" / "v1").iterdir():
        path.write_bytes(b"broken")
    dataset = build(folder)
    samples = [dataset[item] for item in range(8)]
    replaced = [sample for sample in samples if sample["bad_images"]]
    assert replaced
    assert all("template" in sample for sample in samples)
    assert all("v1" in message for sample in replaced for message in sample["bad_images"])
    assert all(same(build(folder)[item], sample) for item, sample in enumerate(samples))


def test_a_sample_without_any_replacement_says_so(folder):
    dataset = build(folder, "TRAIN.MAX_BAD_IMAGES", "4")
    for path in (folder / "crop511").glob("*/*.jpg"):
        path.unlink()
    sample = dataset[0]
    assert list(sample) == ["bad_images"]
    assert len(sample["bad_images"]) == 5
    assert list(collate([sample])) == ["bad_images"]


# --- building


def test_the_loader_runs_through_all_epochs(folder):
    cfg = load_config(tiny_config(folder), ["DATASET.VIDEOS_PER_EPOCH", "5"])
    loader = build_train_loader(cfg, build_train_dataset(cfg, 0), first_epoch=1)
    assert loader.batch_sampler.steps_per_epoch == 2  # the fifth sample fills no batch
    assert list(loader.batch_sampler) == [[5, 6], [7, 8], [10, 11], [12, 13]]
    batch = next(iter(loader))
    assert batch["search"].shape == (2, 3, 255, 255)
    assert batch["search"].is_contiguous(memory_format=torch.channels_last)
    assert batch["label_cls"].dtype == torch.int64


@pytest.mark.parametrize(
    ("opts", "error", "message"),
    [
        (["DATASET.NAMES", "[MINE]"], ValueError, "unknown training set 'MINE'; known: VID"),
        (["DATASET.NAMES", "[]"], ValueError, "lists no training set"),
        (["DATASET.MINI.ROOT", "/nowhere"], FileNotFoundError, r"MINI.ROOT.*/nowhere"),
        (["TRAIN.BATCH_SIZE", "9"], ValueError, "an epoch of 8 pairs"),
        (["DATASET.MINI.NUM_USE", "0"], ValueError, r"MINI\.NUM_USE is 0: remove MINI from"),
        (["TRAIN.THR_LOW", "0.7"], ValueError, r"THR_LOW 0\.7 must not exceed THR_HIGH 0\.6"),
        (["TRAIN.POS_NUM", "65"], ValueError, "nor POS_NUM 65 TOTAL_NUM 64"),
        (
            ["RPN.TYPE", "RPM"],
            ValueError,
            "head 'RPM'; known: CorrRPN, DepthwiseRPN, FC",
        ),
    ],
)
def test_what_does_not_fit_is_named(folder, opts, error, message):
    with pytest.raises(error, match=message):
        build(folder, *opts)


def test_an_epoch_without_a_length_is_one_pass(folder):
    assert build(folder, "DATASET.VIDEOS_PER_EPOCH", "-1").epoch_length == 4


# --- fixed views

VIEWS = ("DATASET.VIEWS.TEMPLATE", "2", "DATASET.VIEWS.SEARCH", "3")


def views_of(dataset, items=range(60)):
    """The different images of some pairs, by crop: template, search."""
    found = {"template": {}, "search": {}}
    for item in items:
        z, x, *_ = dataset._draw(dataset.pick(item), generator(dataset.seed, 0, *divmod(
            item, dataset.epoch_length), 0))  # fmt: skip
        sample = dataset[item]
        for role, crop in (("template", z), ("search", x)):
            images = found[role].setdefault((crop.video, crop.frame), set())
            images.add(sample[role].tobytes() + sample[f"{role}_offset"].tobytes())
    return found


def test_crops_have_so_many_views(folder):
    found = views_of(build(folder, *VIEWS))
    assert {len(images) for images in found["template"].values()} == {1, 2}
    assert max(len(images) for images in found["search"].values()) == 3


def test_a_set_may_have_a_number_of_views_of_its_own(folder):
    found = views_of(build(folder, *VIEWS, "DATASET.MINI.SEARCH_VIEWS", "5"), range(120))
    assert max(len(images) for images in found["template"].values()) == 2
    assert max(len(images) for images in found["search"].values()) == 5


def test_views_do_not_depend_on_the_seed_of_the_run(folder):
    one, other = (build(folder, *VIEWS, seed=seed) for seed in (1, 2))
    crop = one.draw_pair(*one.pick(0), generator(1, 0))[1]
    views = [one.view(crop, "search", number) for number in range(3)]
    assert np.array_equal(views[1].image, other.view(crop, "search", 1).image)
    assert not np.array_equal(views[1].image, views[2].image)
    changed = build(folder, *VIEWS, "DATASET.VIEWS.SEED", "7")
    assert not np.array_equal(views[1].image, changed.view(crop, "search", 1).image)


def test_without_views_pairs_stay_as_they_were(folder):
    plain, half = build(folder), build(folder, *VIEWS[:2])
    assert {crop for crop in map(len, views_of(plain, range(40))["search"].values())} > {3}
    assert not same(plain[0], half[0])


def test_views_are_gray_one_by_one(folder):
    opts = "DATASET.GRAY", "0.5", "DATASET.TEMPLATE.COLOR", "0", "DATASET.SEARCH.COLOR", "0"
    samples = [build(folder, *VIEWS, *opts)[item] for item in range(12)]
    gray = {tuple(np.array_equal(s[k][0], s[k][2]) for k in ("template", "search"))
            for s in samples}  # fmt: skip
    assert len(gray) == 4


def test_every_third_frame(tmp_path):
    write_training_set(tmp_path, videos=2, frames=8)
    opts = "DATASET.MINI.EVERY", "3", "DATASET.MINI.FRAME_RANGE", "4", "DATASET.NEG", "0"
    dataset = build(tmp_path, *opts)
    known = dataset.sets[0].annotations
    assert known.frames.tolist() == [0, 3, 6] * 2
    assert known.first_row.tolist() == [0, 3, 6]
    pairs = [dataset.draw_pair(*dataset.pick(n), generator(1, n)) for n in range(90)]
    assert {abs(z.frame - x.frame) for z, x, _ in pairs} == {0, 3, 6}
