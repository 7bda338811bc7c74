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
        ([[0, 2, 255]], [[0, 2, 0]]),  # 255: not annotated
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
    cv2.imwrite(str(path), np.array([[[0, 1, 2]]], np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is a color image"):
        read_labels(path)


def test_an_image_of_immense_size_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(LABELS).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2  # width and height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot decode the mask .*a\.png: .* exceeds limit"):
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


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match=r"pysot\[masks\]"):
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
