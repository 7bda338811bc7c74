import os
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from toolkit.io.images import label_colors, mask_box, read_labels, write_labels

SHARED = Path(os.environ.get("PYSOT_SHARED", Path(__file__).parents[3] / "shared"))
DAVIS = SHARED / "data" / "sequences" / "davis2016_val" / "Annotations" / "480p"

LABELS = np.array([[0, 1, 2], [3, 254, 0]], np.uint8)


def test_labels_survive_a_file_and_show_their_colors(tmp_path):
    write_labels(tmp_path / "a.png", LABELS)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), LABELS)
    shown = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    np.testing.assert_array_equal(shown, label_colors()[LABELS])
    assert os.listdir(tmp_path) == ["a.png"]


def test_colors_are_those_of_the_challenges():
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    expected |= {8: (64, 0, 0), 255: (224, 224, 192)}
    colors = label_colors()
    assert {label: tuple(colors[label].tolist()) for label in expected} == expected
    assert len(np.unique(colors, axis=0)) == 256


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 255, 0]], [[0, 1, 0]]),  # one object, DAVIS 2016
        ([[0, 0, 0]], [[0, 0, 0]]),
        ([[0, 1, 2]], [[0, 1, 2]]),
        ([[[255] * 3, [0] * 3]], [[1, 0]]),  # gray, stored as color
    ],
)
def test_gray_images_are_read(tmp_path, values, expected):
    Image.fromarray(np.array(values, np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == expected


def test_in_a_palette_255_is_not_annotated(tmp_path):
    write_labels(tmp_path / "a.png", np.array([[0, 255]], np.uint8))
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 0]]


def test_a_bilevel_image_is_one_object(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[1, 0]]


def test_what_is_no_mask_is_refused(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(FileNotFoundError):
        read_labels(path)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot decode the mask .*a\.png"):
        read_labels(path)
    write_labels(path, np.zeros((90, 90), np.uint8) + np.arange(90, dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"cannot decode the mask .*a\.png"):
        read_labels(path)
    cv2.imwrite(str(path), np.array([[[0, 90, 200], [200, 90, 0]]], np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is a color image"):
        read_labels(path)


def test_an_image_of_immense_size_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(LABELS).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2  # width and height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot decode the mask .*a\.png: it .* 100000 pixels"):
        read_labels(path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 44, 300]], [[0, 44, 300]]),  # 300 is neither refused nor 300 - 256
        ([[255, 1, 65535]], [[255, 1, 65535]]),  # 255 is a label, too
        ([[0, 255]], [[0, 1]]),  # one object, as in 8 bits
        ([[0, 65535]], [[0, 1]]),
    ],
)
def test_labels_of_16_bits_stay_apart(tmp_path, values, expected):
    Image.fromarray(np.array(values, np.uint16)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == expected
    write_labels(tmp_path / "b.png", np.array(values))
    if values == expected:
        assert read_labels(tmp_path / "b.png").tolist() == expected


def test_16_bits_are_written_where_they_are_wanted(tmp_path):
    write_labels(tmp_path / "a.png", LABELS.astype(np.uint16))
    labels = read_labels(tmp_path / "a.png")
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, LABELS)
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match=r"a\.png: labels must be 0 to 65535"):
            write_labels(tmp_path / "a.png", np.array([[wrong]]))


def test_values_beyond_16_bits_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 0.5]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has other values than 0 to 65535"):
        read_labels(tmp_path / "a.tif")


def test_without_pillow_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match="masks need Pillow: pip install Pillow"):
        read_labels(tmp_path / "a.png")


def test_box_counts_pixels():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 7] = mask[6, 7:20] = True
    assert mask_box(mask) == [7, 4, 13, 5]
    with pytest.raises(ValueError, match="no pixel"):
        mask_box(mask & False)


@pytest.mark.data
@pytest.mark.skipif(not DAVIS.is_dir(), reason=f"needs the masks in {DAVIS}")
def test_real_masks_hold_one_object():
    files = sorted(DAVIS.glob("*/00000.png"))
    assert len(files) == 20
    assert all(set(np.unique(read_labels(path))) == {0, 1} for path in files)


# --- soft edges, ids and what may be either

BOX = (np.s_[10:30], np.s_[12:40])


def hard(value=255, dtype=np.uint8):
    mask = np.zeros((48, 64), dtype)
    mask[BOX] = value
    return mask


def soft(sigma=1.5, top=255):
    return (cv2.GaussianBlur(hard().astype(np.float32), (0, 0), sigma) * (top / 255)).astype(
        np.uint8
    )


def jpeg(mask):
    return cv2.imdecode(cv2.imencode(".jpg", mask)[1], cv2.IMREAD_GRAYSCALE)


def two(first, second, void=0, dtype=np.uint8):
    """Two large objects, and beside the first a band of 255, of so many pixels."""
    mask = hard(first, dtype)
    mask[33:45, 50:60] = second
    mask[10 - void : 10, 12:40] = 255
    return mask


@pytest.mark.parametrize(
    ("pixels", "suffix", "mode"),
    [
        (soft(), "png", None),
        (soft(2.5), "png", None),
        (cv2.resize(cv2.resize(hard(), (32, 24)), (64, 48)), "png", None),  # few values
        (hard(), "jpg", None),
        (soft(), "jpg", None),
        (jpeg(hard()), "png", None),  # once a JPEG
        (np.where(soft() > 100, np.maximum(soft(), 127), 0), "png", None),
        (np.where(hard() > 0, 255, np.where(soft() > 3, 127, 0)).astype(np.uint8), "png", None),
        (np.where(hard() > 0, 255, np.where(soft() > 3, 128, 0)).astype(np.uint8), "png", None),
        (soft().astype(np.uint16) * 257, "png", None),
        (np.dstack([soft()] * 3), "png", None),
        (np.dstack([soft(), soft() * 0, soft() * 0]), "png", None),  # red
        (np.dstack([soft(top=128), soft() * 0, soft() * 0]), "png", None),  # dark red
        (np.dstack([hard() * 0 + 255] * 3 + [soft()]), "png", None),  # white, seen through alpha
        (np.dstack([hard() * 0] * 3 + [soft()]), "png", None),  # black, seen through alpha
        (np.dstack([soft()] * 3 + [hard() * 0 + 255]), "png", None),  # opaque
        (np.dstack([hard() * 0 + 200, soft()]), "png", None),  # gray with alpha
        (hard(), "png", "1"),
        (hard(), "tif", None),
        (hard(), "bmp", None),
        (hard(1), "png", None),
        (hard(), "png", "P"),  # a palette of grays is none of labels
    ],
)
def test_one_object_may_have_soft_edges(tmp_path, pixels, suffix, mode):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(tmp_path / f"a.{suffix}")
    labels = read_labels(tmp_path / f"a.{suffix}")
    assert set(np.unique(labels)) == {0, 1}
    assert np.abs(np.subtract(mask_box(labels), (12, 10, 28, 20))).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (two(1, 2), {1, 2}),
        (two(38, 75), {38, 75}),  # DAVIS's palette as gray
        (hard(7), {7}),
        (two(1001, 2025, dtype=np.uint16), {1001, 2025}),  # MOTS, KITTI
        (two(1001, 10000, dtype=np.uint16), {1001}),
        (hard(10000, np.uint16), set()),
        (two(3, 10000, dtype=np.uint16), {3, 10000}),
        (two(255, 256, dtype=np.uint16), {255, 256}),
        (np.dstack([two(1, 2), hard(0), hard(0)]), {1, 2}),  # labels in one channel
    ],
)
def test_labels_stay_apart(tmp_path, pixels, expected):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert set(np.unique(read_labels(tmp_path / "a.png"))) - {0} == expected


def test_in_a_palette_values_are_labels(tmp_path):
    write_labels(tmp_path / "a.png", two(2, 3, void=4))
    assert set(np.unique(read_labels(tmp_path / "a.png"))) == {0, 2, 3}
    image = Image.fromarray(np.where(hard() > 0, np.uint8(1), np.uint8(2)))
    image.putpalette([9, 9, 9, 255, 255, 255, 0, 0, 0])  # a gray image with few colors
    image.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "b.png"), hard(1))


@pytest.mark.parametrize(
    ("pixels", "suffix", "text"),
    [
        (two(85, 170, void=5), "png", "may be one object, or labels with 255"),
        (two(128, 255), "jpg", "save 0 and 255"),
        (two(128, 255), "png", "may be one object, or labels with 255"),  # no trimap
        (two(1, 2, void=2), "png", "may be one object, or labels with 255"),
        (two(1, 2, void=5), "png", "may be one object, or labels with 255"),
        (np.array([[0, 2, 255]], np.uint8), "png", "may be one object, or labels with 255"),
        (hard(1), "jpg", "may be one object, or labels with 255"),
        (soft(top=200), "png", "values, more than objects are plausible"),
        (soft(6, top=120), "png", "values, more than objects are plausible"),
        (np.random.default_rng(0).integers(0, 250, (48, 64), np.uint8), "png", "249 values, more"),
        (np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8), "png", "255 values, more"),
        (np.arange(48 * 64, dtype=np.uint16).reshape(48, 64), "png", "3071 values, more"),
        (np.random.default_rng(0).integers(0, 250, (48, 64, 3), np.uint8), "png", "a color image"),
    ],
)
def test_what_may_be_one_object_or_labels_is_refused(tmp_path, pixels, suffix, text):
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match=rf"the mask .*a\.{suffix} .*{text}"):
        read_labels(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(("pixels", "suffix"), [(soft(), "png"), (hard(), "jpg"), (soft(), "jpg")])
def test_results_must_not_have_soft_edges(tmp_path, pixels, suffix):
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match=rf"a\.{suffix} has soft edges or is a JPEG"):
        read_labels(tmp_path / f"a.{suffix}", exact=True)
    for exact in (hard(), two(1, 2), two(1, 255, dtype=np.uint16)):
        Image.fromarray(exact).save(tmp_path / "b.png")
        expected = read_labels(tmp_path / "b.png")
        np.testing.assert_array_equal(read_labels(tmp_path / "b.png", exact=True), expected)


@pytest.mark.parametrize(
    ("pixels", "value", "expected"),
    [
        (hard(), 255, hard(1)),
        (hard(), 1, hard(1)),
        (hard(), 2, hard(0)),
        (soft(), 255, (soft() >= 128).astype(np.uint8)),
        (two(1, 255), 255, (two(1, 255) == 255).astype(np.uint8)),  # not "not annotated"
        (two(1, 2), 2, (two(1, 2) == 2).astype(np.uint8)),
        (two(1, 300, dtype=np.uint16), 300, (two(1, 300, dtype=np.uint16) == 300).astype(np.uint8)),
    ],
)
def test_one_value_can_be_asked_for(tmp_path, pixels, value, expected):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", value=value), expected)


def test_a_large_mask_is_no_bomb_to_pillow(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(hard()).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").any()
    assert not recwarn.list
    assert Image.MAX_IMAGE_PIXELS == 100
