"""Composites: what they show, that they are pure functions of their numbers, what they refuse."""

import json
import os

import cv2
import numpy as np
import pytest

from pysot.core.config import default_config
from pysot.datasets.augmentation import inner_part, line_kernel
from pysot.datasets.build import build_train_dataset
from pysot.datasets.composites import _gains
from pysot.datasets.crop import write_annotation, write_crops
from pysot.datasets.crop_store import UnreadableImage
from pysot.datasets.dataset import box_in_crop, crop_at
from pysot.engine.feature_cache import Crops
from toolkit.io.images import mask_box

PLAIN = {"BLUR": 0.0, "LOW_RESOLUTION": 0.0, "OCCLUDERS": 0.0}


def write_masked(folder, objects=3, frames=2):
    """Write crops of ellipses with masks, each a video of its own."""
    annotation = {}
    for number in range(objects):
        for frame in range(frames):
            rng = np.random.default_rng([number, frame])
            image = rng.integers(0, 80, (200, 260, 3), np.uint8)
            mask = np.zeros(image.shape[:2], np.uint8)
            cv2.ellipse(mask, (130, 100), (30 + 8 * number, 24), 0, 0, 360, 1, -1)
            image[mask > 0] = (60 * number, 120, 250 - 20 * frame)
            x, y, w, h = mask_box(mask)
            box = [x, y, x + w, y + h]
            write_crops(folder / f"v{number}", image, {0: box}, frame, {0: mask})
            tracks = annotation.setdefault(f"v{number}", {"00": {}})
            tracks["00"][f"{frame:06d}"] = box
    write_annotation(folder / "train.json", annotation)


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    write_masked(folder)
    return folder


def config(masked, names=("DRAWN",), **row):
    cfg = default_config()
    crops = {"ROOT": str(masked), "ANNO": str(masked / "train.json")}
    drawn = {"TYPE": "composites", "CUTOUTS": ["STILLS"], "SCENES": 4, "FRAMES": 3, **row}
    dataset = {"NAMES": list(names), "STILLS": crops, "DRAWN": drawn, "VIDEOS_PER_EPOCH": 64}
    cfg.merge_from_other_cfg({"DATASET": dataset})
    return cfg


def drawn(masked, **row):
    return build_train_dataset(config(masked, **row), seed=1).sets[-1]


def crops_of(subset):
    for row in range(len(subset.annotations.frames)):
        yield crop_at(subset, subset.annotations.track_of(row), row)


def test_a_frame_is_a_pure_function_of_seed_scene_and_frame(masked):
    first, again, longer = drawn(masked), drawn(masked), drawn(masked, SCENES=9)
    other = drawn(masked, SEED=1)
    for number, crop in enumerate(crops_of(first)):
        place = crop.video, crop.frame, crop.track
        whole = crop.open()[0:, 0:]
        assert whole.shape == crop.open().shape == (511, 511, 3)
        for same in (first, again, longer):
            np.testing.assert_array_equal(same.crops.read(*place), whole)
            np.testing.assert_array_equal(same.annotations.sizes[number], crop.size)
        np.testing.assert_array_equal(crop.open()[100:300, 17:401], whole[100:300, 17:401])
        assert (other.crops.read(*place) != whole).any()


def test_the_box_is_that_of_the_target_and_so_is_the_mask(masked):
    subset = drawn(masked, **PLAIN)
    for crop in crops_of(subset):
        x, y, w, h = mask_box(crop.mask((511, 511)))
        box = box_in_crop((511, 511), crop.size)
        np.testing.assert_allclose([x, y, x + w, y + h], box, atol=1.6)


def test_the_mask_lacks_what_an_occluder_hides(masked):
    plain, hidden = (
        drawn(masked, **{**PLAIN, "OCCLUDERS": share, "DISTRACTORS": 0, "HIDDEN": 0.4})
        for share in (0.0, 1.0)
    )
    kept = []
    for whole, crop in zip(crops_of(plain), crops_of(hidden), strict=True):
        masks = [(c.mask((511, 511)) > 0).sum() for c in (whole, crop)]
        kept.append((crop.frame, masks[1] / masks[0]))
    assert all(share == 1 for frame, share in kept if frame < 2)  # TEMPLATES: 2
    later = [share for frame, share in kept if frame >= 2]
    assert min(later) < 0.95 and min(later) > 0.55


def test_templates_show_the_first_frames_and_nothing_beside_the_target(masked):
    dataset = build_train_dataset(config(masked, FRAMES=5, LIKES=1.0), seed=1)
    rng = np.random.default_rng(0)
    frames = [dataset.draw_pair(*dataset.pick(n), rng)[:2] for n in range(80)]
    assert {template.frame for template, _ in frames} == {0, 1}
    assert {search.frame for _, search in frames} == {2, 3, 4}
    counts = [len(dataset.sets[0].crops.open("000000", n, "00")._picture().layers) for n in (0, 1)]
    assert counts == [1, 1]


@pytest.mark.parametrize("templates", [0, 3])
def test_all_frames_play_both_roles_where_none_or_all_are_templates(masked, templates):
    dataset = build_train_dataset(config(masked, TEMPLATES=templates), seed=1)
    rng = np.random.default_rng(0)
    frames = [dataset.draw_pair(*dataset.pick(n), rng)[:2] for n in range(60)]
    for shown in zip(*frames, strict=True):
        assert {crop.frame for crop in shown} == {0, 1, 2}


def test_a_cache_has_views_of_the_roles_that_a_frame_plays(masked):
    row = {"SCENES": 2, "FRAMES": 3, "TEMPLATES": 1, "TEMPLATE_VIEWS": 4, "SEARCH_VIEWS": 2}
    crops = Crops(build_train_dataset(config(masked, **row), seed=1).sets)
    assert crops.views("template").tolist() == [4, 0, 0] * 2
    assert crops.views("search").tolist() == [0, 2, 2] * 2


def test_likes_never_have_the_light_of_the_target():
    rng = np.random.default_rng(0)
    gains = np.array([_gains(rng, 0.25, least=0.1) for _ in range(200)])
    assert np.abs(np.log(gains[:, :3]).mean(axis=1)).min() > 0.02
    assert (gains[:, 3] == 1).all()


def test_no_negative_shows_the_object_of_its_template_be_it_cut_out_or_not(masked):
    cfg = config(masked, ("STILLS", "DRAWN"))
    cfg.DATASET.NEG = 1.0
    dataset, rng = build_train_dataset(cfg, seed=1), np.random.default_rng(0)
    seen = set()
    for item in range(200):
        template, search, differ = dataset.draw_pair(*dataset.pick(item), rng)
        assert differ and template.target != search.target
        assert template.target[0] == masked  # the object itself, not the scene
        seen.add((template.set_name, search.set_name))
    assert len(seen) == 4  # across the sets


def test_pairs_with_masks_come_from_composites_and_stills_alike(masked):
    cfg = config(masked, ("STILLS", "DRAWN"))
    cfg.merge_from_list(["MASK.MASK", True, "DATASET.NEG", 0.0])
    dataset = build_train_dataset(cfg, seed=1)
    for item in range(8):
        sample = dataset[item]
        assert sample["bad_images"] == [] and sample["label_mask_weight"].any()
        assert sample["search"].shape == (3, 255, 255)
        assert (sample["label_mask"] == 1).any()


def test_folders_of_images_are_backgrounds(masked, tmp_path):
    (tmp_path / "below").mkdir()
    cv2.imwrite(str(tmp_path / "below" / "a.png"), np.full((90, 120, 3), (9, 200, 30), np.uint8))
    subset = drawn(masked, BACKGROUNDS=[str(tmp_path)], DISTRACTORS=0)
    assert subset.crops.read("000000", 0, "00")[5, 5].tolist() == [9, 200, 30]


def test_the_padding_of_crops_is_no_background():
    image = np.full((300, 300, 3), 77, np.uint8)
    image[100:200, 60:260] = np.random.default_rng(0).integers(0, 255, (100, 200, 3))
    assert inner_part(image) == (slice(102, 198), slice(62, 258))  # JPEG mixes the border
    flat = np.full((50, 40, 3), 7, np.uint8)
    assert inner_part(flat) == (slice(0, 50), slice(0, 40))


@pytest.mark.parametrize("angle", [0, 0.7, np.pi / 2])
@pytest.mark.parametrize("length", [3, 4, 11])
def test_a_motion_blur_keeps_the_brightness(length, angle):
    kernel = line_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1) and (kernel > 0).sum() > length / 2


def test_the_stamp_changes_with_settings_and_sources(tmp_path):
    write_masked(tmp_path)
    place = "000000", 0, "00"
    stamp = drawn(tmp_path).crops.stamp(*place)
    assert stamp == drawn(tmp_path, SCENES=9).crops.stamp(*place) != ""
    assert stamp != drawn(tmp_path, LIKES=0.5).crops.stamp(*place)
    assert drawn(tmp_path).crops.stamp("000099", 0, "00") == ""
    os.utime(tmp_path / "v1" / "000001.00.m.png", (1, 1))
    assert stamp != drawn(tmp_path).crops.stamp(*place)


def test_a_damaged_source_costs_its_frames_alone(tmp_path):
    write_masked(tmp_path, objects=1, frames=1)
    subset = drawn(tmp_path, DISTRACTORS=0)
    (tmp_path / "v0" / "000000.00.m.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"000000\.00\.m\.png"):
        subset.crops.read("000000", 0, "00")
    with pytest.raises(UnreadableImage, match="no such scene or frame"):
        subset.crops.open("000004", 0, "00")
    cv2.imwrite(str(tmp_path / "v0" / "000000.00.m.png"), np.zeros((511, 511), np.uint8))
    with pytest.raises(UnreadableImage, match="no object of 60 pixels"):
        subset.crops.read("000000", 0, "00")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"CUTOUTS": ["NONE"]}, "DATASET.DRAWN.CUTOUTS: unknown training set 'NONE'; known: "),
        ({"CUTOUTS": ["DRAWN"]}, "DATASET.DRAWN.CUTOUTS: DRAWN is made of composites itself"),
        ({"BACKGROUNDS": ["/none"]}, "DATASET.DRAWN.BACKGROUNDS: '/none' is neither"),
        ({"SMALLEST": 0.5}, "DATASET.DRAWN.SMALLEST 0.5 must not exceed LARGEST 0.36"),
        ({"NUM_USE": 0}, "DATASET.DRAWN.NUM_USE is 0"),
    ],
)
def test_a_row_that_cannot_be_drawn_is_refused(masked, row, text):
    with pytest.raises(ValueError, match=text):
        drawn(masked, **row)


def test_cut_outs_need_masks(tmp_path):
    write_masked(tmp_path)
    for path in tmp_path.glob("*/*.m.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"DRAWN\.CUTOUTS: STILLS has no masks .* in "):
        drawn(tmp_path)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"TYPE": "paintings", "ROOT": "a"}, "DATASET.X.TYPE: unknown 'paintings'; known: crops"),
        ({"TYPE": "composites"}, "DATASET.X needs CUTOUTS"),
        ({"TYPE": "composites", "CUTOUTS": ["A"], "ROOT": "b"}, "unknown key DATASET.X.ROOT"),
        ({"TYPE": "composites", "CUTOUTS": ["A"], "SCENES": 0}, "DATASET.X.SCENES is 0"),
        ({"ROOT": "a"}, "DATASET.X needs ANNO"),
    ],
)
def test_a_section_has_the_keys_of_its_type(row, text):
    with pytest.raises(ValueError, match=text):
        default_config().merge_from_list(["DATASET.X", json.dumps(row)])
