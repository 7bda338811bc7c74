import cv2
import numpy as np
import pytest
from training_crops import write_training_set

from pysot.datasets.crop_store import UnreadableImage, open_crops


@pytest.fixture
def root(tmp_path):
    write_training_set(tmp_path, videos=2)
    return tmp_path / "crop511"


def test_crops_are_found_by_name(root):
    crops = open_crops(root)
    assert crops.has("v1", 2, "00")
    assert not crops.has("v1", 3, "00") and not crops.has("v1", 2, "00", "m")
    written = cv2.imread(str(root / "v1" / "000002.00.x.jpg"))
    np.testing.assert_array_equal(crops.read("v1", 2, "00"), written)


def test_masks_have_one_channel(root):
    mask = np.zeros((511, 511), np.uint8)
    mask[200:300, 250:260] = 255
    cv2.imwrite(str(root / "v0" / "000001.00.m.png"), mask)
    np.testing.assert_array_equal(open_crops(root).read("v0", 1, "00", "m"), mask)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "no image"), (b"text", "no image")],
)
def test_unreadable_crops(root, content, message):
    path = root / "v0" / "000000.00.x.jpg"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=message) as error:
        open_crops(root).read("v0", 0, "00")
    assert str(path) in str(error.value)


def test_a_truncated_crop_is_no_grey_one(root):
    path = root / "v0" / "000000.00.x.jpg"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableImage, match="cut short"):
        open_crops(root).read("v0", 0, "00")
