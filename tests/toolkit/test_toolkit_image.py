import sys

import cv2
import numpy as np
import pytest

from toolkit.io.images import (
    IMAGE_SUFFIXES,
    image_size,
    is_cut_jpeg_file,
    list_images,
    natural_key,
    read_image,
)

NOISE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (NOISE, "color.png"),
        (NOISE, "color.jpg"),
        (NOISE[..., 0], "gray.png"),
        (np.dstack([NOISE, NOISE[..., 0]]), "alpha.png"),
        (NOISE.astype(np.uint16) * 257, "deep.png"),
    ],
)
def test_every_depth_and_channel_count_becomes_bgr_uint8(tmp_path, pixels, name):
    cv2.imwrite(str(tmp_path / name), pixels)
    image = read_image(tmp_path / name)
    assert (image.shape, image.dtype) == ((40, 50, 3), np.uint8)
    if name.endswith("png"):
        color = np.dstack([NOISE[..., 0]] * 3) if name == "gray.png" else NOISE
        assert (image == color).all()


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


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["10.jpg", "9.jpg"], ["9.jpg", "10.jpg"]),
        (["img_10.png", "img_9.png"], ["img_9.png", "img_10.png"]),
        (["b.jpg", "A.jpg", "1.jpg"], ["1.jpg", "A.jpg", "b.jpg"]),  # digits before letters
        (["2b.jpg", "02a.jpg"], ["02a.jpg", "2b.jpg"]),
        (["p10_1.jpg", "p2_7.jpg", "p2_11.jpg"], ["p2_7.jpg", "p2_11.jpg", "p10_1.jpg"]),
    ],
)
def test_names_sort_by_the_numbers_in_them(names, expected):
    assert sorted(names, key=natural_key) == expected


def test_a_folder_lists_its_images(tmp_path):
    for name in ("a10.JPG", "a9.tiff", "b.webp", ".a1.jpg", "notes.txt", "jpg"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "a11.jpg").symlink_to(tmp_path / "gone.jpg")  # its reader must find it missing
    assert [path.name for path in list_images(tmp_path)] == [
        "a9.tiff",
        "a10.JPG",
        "a11.jpg",
        "b.webp",
    ]
    assert list_images(tmp_path)[0] == tmp_path / "a9.tiff"
    assert list_images(tmp_path / "gone") == list_images(tmp_path / "notes.txt") == []


@pytest.mark.parametrize(
    "names",
    [["0009.jpg", "0010.jpg", "0100.jpg"], ["9.jpg", "10.jpg"], ["a1.jpg", "a2.jpg", "b1.jpg"]],
)
def test_padded_numbers_and_others_are_in_natural_order(tmp_path, names):
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == names == sorted(names, key=natural_key)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_listed_suffix_can_be_read(tmp_path, suffix):
    image = NOISE[..., 0] if suffix in (".pbm", ".pgm") else NOISE
    encoded, data = cv2.imencode(suffix, image)
    assert encoded
    (tmp_path / f"a{suffix}").write_bytes(data)
    assert read_image(tmp_path / f"a{suffix}").shape == (40, 50, 3)


@pytest.mark.parametrize(
    ("kept", "padding", "cut"),
    [(1500, 0, True), (None, 0, False), (None, 64, False), (None, 4000, False), (-1, 0, True)],
)
def test_a_jpeg_must_have_its_end_which_padding_may_follow(tmp_path, kept, padding, cut):
    content = cv2.imencode(".jpg", NOISE)[1].tobytes()[:kept] + bytes(padding)
    (tmp_path / "a.jpg").write_bytes(content)
    assert is_cut_jpeg_file(tmp_path / "a.jpg") == cut
    if cut:
        with pytest.raises(ValueError, match="cannot decode"):
            read_image(tmp_path / "a.jpg")
    else:
        assert read_image(tmp_path / "a.jpg").shape == (40, 50, 3)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8", b"PNG" * 9])
def test_a_short_file_is_a_cut_jpeg_only_with_its_start(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert is_cut_jpeg_file(tmp_path / "a") == content.startswith(b"\xff\xd8")
