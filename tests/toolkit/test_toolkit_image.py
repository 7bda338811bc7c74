import io
import sys
import zlib

import cv2
import numpy as np
import pytest

from pysot.datasets.crop_store import UnreadableImage, decode_crop
from toolkit.io.image_header import read_header
from toolkit.io.images import (
    IMAGE_SUFFIXES,
    depth_note,
    image_size,
    list_images,
    natural_key,
    read_image,
    read_labels,
    undecided_turn,
    value_range,
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
    [(1500, 0, True), (None, 0, False), (None, 64, False), (None, 9000, False), (-1, 0, True)],
)
def test_a_jpeg_must_have_its_end_which_anything_may_follow(tmp_path, kept, padding, cut):
    content = cv2.imencode(".jpg", NOISE)[1].tobytes()[:kept] + bytes(padding)
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_header(content).is_cut == cut
    if cut:
        with pytest.raises(ValueError, match="cannot decode"):
            read_image(tmp_path / "a.jpg")
    else:
        assert read_image(tmp_path / "a.jpg").shape == (40, 50, 3)


def encoded(suffix, pixels=NOISE, orientation=None, **options):
    """Content of an image file that Pillow writes, with an EXIF orientation."""
    pillow = pytest.importorskip("PIL.Image")
    if orientation:
        options["exif"] = exif = pillow.Exif()
        exif[0x0112] = orientation
    file = io.BytesIO()
    names = {"jpg": "JPEG", "jp2": "JPEG2000", "pfm": "PPM", "pgm": "PPM", "tif": "TIFF"}
    pillow.fromarray(pixels).save(file, names.get(suffix, suffix.upper()), **options)
    return file.getvalue()


TURNED = {  # what `numpy` makes of the stored image, by EXIF orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_stated_size_decides_on_the_orientation(tmp_path, suffix, orientation):
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, **options))
    plain = read_image(path)
    path.write_bytes(encoded(suffix, orientation=orientation, **options))
    turned = TURNED[orientation](plain)
    assert (read_image(path) == turned).all()
    assert image_size(path) == turned.shape[1::-1]
    on_its_side = orientation > 4
    assert (read_image(path, (50, 40)) == (plain if on_its_side else turned)).all()
    assert image_size(path, (50, 40)) == (50, 40)
    assert (read_image(path, (40, 50)) == turned).all()
    for size in (None, (50, 40), (40, 50), (7, 7)):
        decided = on_its_side and size in ((50, 40), (40, 50))
        assert bool(undecided_turn(path, size)) == (orientation > 1 and not decided)


def test_orientation_of_a_square_is_undecided(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded("jpg", NOISE[:, :40], 6))
    assert "orientation 6" in undecided_turn(tmp_path / "a.jpg", (40, 40))


@pytest.mark.parametrize(
    "exif", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"no EXIF at all"]
)
def test_damaged_exif_turns_nothing(tmp_path, exif):
    content = encoded("jpg")
    length = (len(exif) + 8).to_bytes(2, "big")
    segment = b"\xff\xe1" + length + b"Exif\0\0" + exif
    (tmp_path / "a.jpg").write_bytes(content[:2] + segment + content[2:])
    assert image_size(tmp_path / "a.jpg") == (50, 40)
    assert read_image(tmp_path / "a.jpg").shape == (40, 50, 3)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, value):
    (tmp_path / "a.png").write_bytes(encoded("png", orientation=value or 9))
    assert image_size(tmp_path / "a.png") == (50, 40)


@pytest.mark.parametrize(
    ("suffix", "options", "bits"),
    [
        ("png", {}, 8),
        ("jpg", {"progressive": True}, 8),
        ("webp", {}, 8),
        ("webp", {"lossless": True}, 8),
        ("tif", {"compression": "tiff_lzw"}, 8),
        ("tif", {"big_tiff": True}, 8),
        ("bmp", {}, 8),
        ("gif", {}, 8),
        ("jp2", {}, 8),
        ("jp2", {"no_jp2": True}, 8),
        ("pgm", {}, 8),
        ("png", {"pixels": NOISE[..., 0].astype(np.uint16)}, 16),
        ("tif", {"pixels": NOISE[..., 0].astype(np.float32)}, 32),
        ("pgm", {"pixels": NOISE[..., 0].astype(np.uint16)}, 16),
        ("pfm", {"pixels": NOISE[..., 0].astype(np.float32)}, 32),
    ],
)
def test_a_head_states_size_and_depth(suffix, options, bits):
    assert read_header(encoded(suffix, **options))[:3] == (50, 40, bits)
    for length in range(0, 60, 7):
        header = read_header(encoded(suffix, **options)[:length])
        assert header is None or header[:2] == (50, 40)


def test_a_png_whose_end_is_missing_is_not_decoded(tmp_path, monkeypatch):
    content = bytearray(encoded("png"))
    assert not read_header(content + b"trailing bytes").is_cut
    longer = content[:33] + b"\x7f" + content[34:]  # a chunk of 2 GB
    monkeypatch.setattr(cv2, "imdecode", None)
    for name, cut in {"a": content[:-12], "b": content[:-5], "c": longer}.items():
        (tmp_path / f"{name}.png").write_bytes(cut)
        for read in (read_image, image_size, read_labels):
            with pytest.raises(ValueError, match=f"{name}.png: it is cut short"):
                read(tmp_path / f"{name}.png")


def bomb(suffix, side):
    """Content of a small file whose head states side x side pixels."""
    content = bytearray(cv2.imencode(f".{suffix}", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    big, little = (side.to_bytes(4, order) for order in ("big", "little"))
    if suffix == "png":
        content[16:24] = big * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    elif suffix == "bmp":
        content[18:26] = little * 2
    elif suffix == "jpg":
        at = content.find(b"\xff\xc0") + 5
        content[at : at + 4] = big[2:] * 2
    elif suffix == "jp2":
        at = content.find(b"\xff\x4f\xff\x51") + 8
        content[at : at + 8] = big * 2
    elif suffix == "ppm":
        content = content.replace(b"64 64", b"%d %d" % (side, side))
    return bytes(content)


@pytest.mark.parametrize(
    ("suffix", "side"),
    [
        ("png", 100_000),
        ("png", 30_000),
        ("png", 0),
        ("bmp", 65_000),
        ("jpg", 65_535),
        ("jp2", 100_000),
        ("ppm", 100_000),
        ("ppm", 0),
    ],
)
def test_an_image_of_immense_size_is_not_decoded(tmp_path, suffix, side, monkeypatch):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(bomb(suffix, side))
    monkeypatch.setattr(cv2, "imdecode", None)
    for read in (read_image, image_size, read_labels):
        with pytest.raises(ValueError, match=f"a.{suffix}.* {side} x {side} pixels"):
            read(path)
    with pytest.raises(UnreadableImage, match=f"{side} x {side} pixels"):
        decode_crop(path.read_bytes(), "x", "a")


def test_the_limit_on_pixels_can_be_set(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded("png"))
    monkeypatch.setenv("PYSOT_MAX_PIXELS", "1999")
    with pytest.raises(ValueError, match=r"50 x 40 pixels; expected 1 to 1999 .*PYSOT_MAX_PIXELS"):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("PYSOT_MAX_PIXELS", "2000")
    assert read_image(tmp_path / "a.png").shape == (40, 50, 3)
    monkeypatch.setenv("PYSOT_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="PYSOT_MAX_PIXELS=many: expected a whole number"):
        image_size(tmp_path / "a.png")


def test_errors_of_opencv_do_not_escape(tmp_path, monkeypatch):
    def fail(*arguments):
        raise cv2.error("a failed assertion")

    (tmp_path / "a.png").write_bytes(encoded("png"))
    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ValueError, match="cannot decode the image"):
        read_image(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match="no image"):
        decode_crop(encoded("png"), "x", "a")


def test_the_first_of_several_images_in_a_file_is_read(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pages = [pillow.fromarray(a) for a in (NOISE, 255 - NOISE)]
    for name in ("a.tif", "a.png"):  # an animated WebP can be read by OpenCV 5 alone
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        assert (read_image(tmp_path / name) == NOISE[..., ::-1]).all()


@pytest.mark.parametrize("mode", ["CMYK", "LA", "1", "P"])
def test_unusual_images_become_bgr(tmp_path, mode):
    pillow = pytest.importorskip("PIL.Image")
    suffix = "jpg" if mode == "CMYK" else "png"
    pillow.fromarray(NOISE).convert(mode).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").shape == (40, 50, 3)


# --- more than 8 bits

RAMP = np.arange(2000, dtype=np.float64).reshape(40, 50) / 1999


def deep(low, high, dtype=np.uint16):
    return (low + RAMP * (high - low)).astype(dtype)


@pytest.mark.parametrize(
    ("first", "name", "expected"),
    [
        (deep(7000, 8000), "a.png", (6750, 8250)),  # thermal: a quarter more on either side
        (deep(7000, 8000), "a.pgm", (6750, 8250)),
        (deep(7000, 8000), "a.jp2", (6750, 8250)),
        (np.dstack([deep(7000, 8000)] * 3), "a.tif", (6750, 8250)),
        (deep(0, 4095), "a.png", (0, 5118)),  # 12 bits
        (deep(100, 200), "a.png", (0, 256)),  # 8 bits in a file of 16
        (deep(5000, 5010), "a.png", (4877, 5133)),  # noise is not made signal
        (deep(5000, 5000), "a.png", (4872, 5128)),  # constant
        (deep(0, 0), "a.png", (0, 256)),
        (deep(0, 65535), "a.png", (0, 65536)),  # all bits in use: the upper 8, as PySOT has it
        (deep(-500, 500, np.int16), "a.tif", (-750, 750)),
        (deep(0.25, 0.75, np.float32), "a.tif", (0.125, 0.875)),
        (np.where(RAMP > 0.99, 65535, np.where(RAMP < 0.01, 0, deep(7000, 8000))), "a.png", None),
    ],
)
def test_deep_images_are_stretched_by_the_range_of_the_first(tmp_path, first, name, expected):
    cv2.imwrite(str(tmp_path / name), first.astype(np.uint16) if expected is None else first)
    low, high = value_range(str(tmp_path / name))
    assert (low, high) == pytest.approx(expected or (6765, 8235), abs=3)
    assert high - low >= min(256, (expected or (0, 256))[1] - (expected or (0, 256))[0])
    levels = (first.astype(np.float64) - low) * 256 / (high - low)
    levels = np.clip(levels, 0, 255).astype(np.uint8)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    assert (image == (levels if levels.ndim == 3 else levels[..., None])).all()


def test_one_range_serves_a_whole_video(tmp_path):
    for number, rise in enumerate((0, 200, 600, 5000)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), deep(7000 + rise, 8000 + rise))
    images = [read_image(tmp_path / f"{n}.png", first=tmp_path / "0.png") for n in range(3)]
    shift = images[1].astype(int) - images[0]
    assert shift.min() in (33, 34, 35)  # brightness changes as it did: 200 * 256 / 1500
    assert shift.max() in (33, 34, 35)
    assert images[2].max() == 255
    with pytest.raises(ValueError, match=r"3\.png: most of its values are not within 675\d to 82"):
        read_image(tmp_path / "3.png", first=tmp_path / "0.png")
    assert not (read_image(tmp_path / "1.png") == images[1]).all()


def test_the_range_can_be_given(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), deep(7000, 8000))
    monkeypatch.setenv("PYSOT_IMAGE_RANGE", "7000,8024")
    image = read_image(tmp_path / "a.png")
    assert (image == ((deep(7000, 8000) - 7000) // 4)[..., None]).all()
    for wrong in ("7", "9,8", "1,2,3", "a,b", "nan,4", "1,inf"):
        monkeypatch.setenv("PYSOT_IMAGE_RANGE", wrong)
        with pytest.raises(ValueError, match=r"PYSOT_IMAGE_RANGE=.*expected LOW,HIGH"):
            read_image(tmp_path / "a.png")


def test_a_video_has_one_depth(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), deep(7000, 8000))
    cv2.imwrite(str(tmp_path / "flat.png"), NOISE)
    for one, other in (("flat", "deep"), ("deep", "flat")):
        with pytest.raises(ValueError, match=rf"{one}\.png and .*{other}\.png, differ in depth"):
            read_image(tmp_path / f"{one}.png", first=tmp_path / f"{other}.png")
    for values in (NOISE.astype(np.uint16), NOISE.astype(np.uint16) * 257):  # 8 bits in both
        deep_one = tmp_path / f"{values.max()}.png"
        cv2.imwrite(str(deep_one), values)
        assert (read_image(tmp_path / "flat.png", first=deep_one) == NOISE).all()
        assert (read_image(deep_one, first=tmp_path / "flat.png") == NOISE).all()


def test_not_a_number_is_dark(tmp_path):
    pixels = deep(0.25, 0.75, np.float32)
    pixels[0, :3] = np.nan, np.inf, -np.inf
    cv2.imwrite(str(tmp_path / "a.tif"), pixels)
    assert read_image(tmp_path / "a.tif")[0, :3, 0].tolist() == [0, 255, 0]


def test_the_note_names_the_first_deep_image(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), deep(7000, 8000))
    cv2.imwrite(str(tmp_path / "flat.png"), NOISE)
    assert depth_note([tmp_path / "flat.png", tmp_path / "gone.png"]) == ""
    note = depth_note([tmp_path / "flat.png", tmp_path / "deep.png"])
    assert "deep.png has more than 8 bits: its values 675" in note
