import cv2
import numpy as np
import pytest
from training_crops import write_training_set

from pysot.datasets.crop import CropForm
from pysot.datasets.crop_store import CropFolder, EncodedCrop, UnreadableImage


@pytest.fixture
def root(tmp_path):
    write_training_set(tmp_path, videos=2)
    return tmp_path / "crop511"


def test_crops_are_found_by_name(root):
    crops = CropFolder(root)
    assert crops.has("v1", 2, "00")
    assert not crops.has("v1", 3, "00") and not crops.has("v1", 2, "00", "m")
    written = cv2.imread(str(root / "v1" / "000002.00.x.jpg"))
    np.testing.assert_array_equal(crops.read("v1", 2, "00"), written)


def test_masks_have_one_channel(root):
    mask = np.zeros((511, 511), np.uint8)
    mask[200:300, 250:260] = 255
    cv2.imwrite(str(root / "v0" / "000001.00.m.png"), mask)
    np.testing.assert_array_equal(CropFolder(root).read("v0", 1, "00", "m"), mask)


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
        CropFolder(root).read("v0", 0, "00")
    assert str(path) in str(error.value)


def test_a_truncated_crop_is_no_gray_one(root):
    path = root / "v0" / "000000.00.x.jpg"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableImage, match="cut short"):
        CropFolder(root).read("v0", 0, "00")


# --- parts


def photo(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.mark.parametrize("interval", [0, 1, 2, 19, 32])
@pytest.mark.parametrize("shape", [(511, 511), (300, 290)])
def test_a_part_has_the_pixels_of_the_whole(interval, shape, rng):
    options = (cv2.IMWRITE_JPEG_RST_INTERVAL, interval)
    content = cv2.imencode(".jpg", photo(*shape), options)[1].tobytes()
    whole = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    crop = EncodedCrop(content, "x")
    assert crop.shape == whole.shape
    for _ in range(20):
        y1, y2 = np.sort(rng.choice(shape[0] + 1, 2, replace=False))
        x1, x2 = np.sort(rng.choice(shape[1] + 1, 2, replace=False))
        np.testing.assert_array_equal(crop[y1:y2, x1:x2], whole[y1:y2, x1:x2])


def test_a_part_of_other_formats_is_cut_out_of_the_whole():
    image = photo(60, 50)
    for suffix, options in ((".png", ()), (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))):
        content = cv2.imencode(suffix, image, options)[1].tobytes()
        whole = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(EncodedCrop(content, "x")[5:9, 40:50], whole[5:9, 40:50])


def test_a_file_that_lacks_markers_is_named():
    content = cv2.imencode(".jpg", photo(511, 511), CropForm(tiles=True).jpeg_options)[1].tobytes()
    place = content.index(b"\xff\xd3")
    broken = EncodedCrop(content[:place] + content[place + 2 :], "some/crop")
    with pytest.raises(UnreadableImage, match=r"some/crop.*restart"):
        broken[0:9, 0:9]
