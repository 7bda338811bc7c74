import sys

import cv2
import numpy as np
import pytest

from toolkit.io.images import image_size, read_image

NOISE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (NOISE, "colour.png"),
        (NOISE, "colour.jpg"),
        (NOISE[..., 0], "grey.png"),
        (np.dstack([NOISE, NOISE[..., 0]]), "alpha.png"),
        (NOISE.astype(np.uint16) * 257, "deep.png"),
    ],
)
def test_every_depth_and_channel_count_becomes_bgr_uint8(tmp_path, pixels, name):
    cv2.imwrite(str(tmp_path / name), pixels)
    image = read_image(tmp_path / name)
    assert (image.shape, image.dtype) == ((40, 50, 3), np.uint8)
    if name.endswith("png"):
        colour = np.dstack([NOISE[..., 0]] * 3) if name == "grey.png" else NOISE
        assert (image == colour).all()


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "text.jpg", "empty.jpg"])
def test_a_broken_image_is_named(tmp_path, name):
    path = tmp_path / name
    if name.startswith("cut"):
        cv2.imwrite(str(path), NOISE)
        path.write_bytes(path.read_bytes()[: 1500 if name == "cut.jpg" else 60])
    else:
        path.write_text("no image" if name == "text.jpg" else "")
    with pytest.raises(ValueError, match=f"cannot decode the image .*{name}"):
        read_image(path)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"0001\.jpg"):
        read_image(tmp_path / "0001.jpg")


@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_size_is_that_of_the_image_as_it_is_read(tmp_path, orientation, monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    exif = pillow.Exif()
    if orientation:
        exif[0x0112] = orientation
    pillow.fromarray(NOISE).save(tmp_path / "a.jpg", exif=exif)
    width, height = (50, 40) if orientation in (None, 1, 3) else (40, 50)
    assert read_image(tmp_path / "a.jpg").shape == (height, width, 3)
    assert image_size(tmp_path / "a.jpg") == (width, height)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert image_size(tmp_path / "a.jpg") == (width, height)


def test_size_of_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"image .*a\.jpg"):
        image_size(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"b\.jpg"):
        image_size(tmp_path / "b.jpg")
