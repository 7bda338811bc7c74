"""Images and masks that are damaged, huge, or of another kind than their name says."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import sets
from harness import ONE, Trial, generators
from mutations import mutated_bytes
from PIL import Image

from pysot.cli import prepare
from toolkit.io.images import image_size, list_images, read_image, read_labels

pytestmark = pytest.mark.abuse

PICTURE = sets.picture(1)
DEEP = PICTURE[..., 0].astype(np.uint16) * 257


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, data=b"", depth=8, color=0):
    """A PNG whose head declares some size, with right check sums."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


RIGHT = {
    **{
        f"{kind}": sets.encoded(PICTURE, f".{kind}")
        for kind in ("jpg", "png", "bmp", "webp", "tiff", "ppm")
    },
    "deep.png": sets.encoded(DEEP, ".png"),
    "deep.tiff": sets.encoded(DEEP, ".tiff"),
    "gray.jpg": sets.encoded(PICTURE[..., 0]),
    "alpha.png": sets.encoded(np.dstack([PICTURE, PICTURE[..., :1]]), ".png"),
    "turned.jpg": saved(
        Image.fromarray(PICTURE),
        "JPEG",
        exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    ),
    "palette.png": saved(Image.fromarray(PICTURE).convert("P"), "PNG"),
    "bits.png": saved(Image.fromarray(PICTURE).convert("1"), "PNG"),
    "cmyk.jpg": saved(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"),
    "moving.gif": saved(
        Image.fromarray(PICTURE), "GIF", save_all=True, append_images=[Image.fromarray(PICTURE)]
    ),
}
WRONG = {
    "empty": b"",
    "text": b"not an image",
    "page": b"<!DOCTYPE html><html>404</html>",
    "huge": png(50000, 50000),
    "wide": png(2**31 - 1, 1),
    "high and true": png(1, 60000, b"\0\0" * 60000),
    "nothing": png(0, 0),
    "huge jpeg": RIGHT["jpg"][:2]
    + RIGHT["jpg"][2:].replace(struct.pack(">HH", 30, 40), b"\xff\xff\xff\xff"),
    "huge bmp": RIGHT["bmp"][:18] + struct.pack("<ii", 40000, 40000) + RIGHT["bmp"][26:],
    "turned bmp": RIGHT["bmp"][:18] + struct.pack("<ii", -40, -(2**31)) + RIGHT["bmp"][26:],
    "huge ppm": b"P6\n60000 60000\n255\n" + b"x" * 100,
    "endless ppm": b"P6\n" + b"9" * 400 + b" 4\n255\n",
    "pointer to LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


def wrong(rng):
    if rng.random() < 0.15:
        return rng.choice(list(WRONG.values()))
    data = rng.choice(list(RIGHT.values()))
    return mutated_bytes(data, rng)


@pytest.mark.parametrize("name", RIGHT)
def test_right_images_are_read(tmp_path, name):
    if name.endswith("gif"):
        pytest.skip("not among the formats of frames")
    path = tmp_path / f"image.{name.rpartition('.')[2]}"
    path.write_bytes(RIGHT[name])
    height, width = read_image(path).shape[:2]
    assert image_size(path) == (width, height) == ((30, 40) if "turned" in name else (40, 30))


@pytest.mark.parametrize("name", WRONG)
def test_bombs(tmp_path, name):
    path = tmp_path / "image.png"
    path.write_bytes(WRONG[name])
    with Trial(f"bomb {name}", tmp_path) as trial:
        for read in (read_image, image_size, read_labels):
            trial.run(0, lambda read=read: read(path))


def test_images(tmp_path):
    with Trial("images", tmp_path, ["in"]) as trial:
        (tmp_path / "in").mkdir()
        for number, rng in generators("images"):
            suffix = rng.choice(("jpg", "png", "bmp", "webp", "tif", "ppm", "JPEG"))
            path = tmp_path / "in" / f"image.{suffix}"
            path.write_bytes(wrong(rng))
            image = trial.run(number, lambda path=path: read_image(path))
            size = trial.run(number, lambda path=path: image_size(path))
            if image is not None:
                if not (image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
                    trial.fault(number, "no BGR image")
                if size is not None and size != image.shape[1::-1]:
                    trial.fault(number, "another size than the head says", f"{size} {image.shape}")
            path.unlink()
    assert ONE or (trial.accepted and trial.refused)


def test_masks(tmp_path):
    path = tmp_path / "in" / "mask.png"
    path.parent.mkdir()
    with Trial("masks", tmp_path, ["in"]) as trial:
        for number, rng in generators("masks"):
            path.write_bytes(wrong(rng))
            labels = trial.run(number, lambda: read_labels(path))
            if labels is not None and not (
                labels.ndim == 2 and labels.dtype in (np.uint8, np.uint16)
            ):
                trial.fault(number, "no label image")
    assert ONE or (trial.accepted and trial.refused)


def test_sets_with_wrong_images(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    names = sets.write_frames(root, "{video}/{number:04d}.jpg")
    for video in names:
        text = "\n".join(",".join(map(str, box)) for box in sets.BOXES)
        (root / video / "groundtruth.txt").write_text(text)
    argv = ["own", "--root", str(root), "--output", str(out), "--workers", "1"]
    with Trial("sets of images", tmp_path, ["in", "out"]) as trial:
        for number, rng in generators("sets of images", share=5):
            for name in (name for images in names.values() for name in images):
                (root / name).write_bytes(wrong(rng) if rng.random() < 0.5 else RIGHT["jpg"])
            more = ["--check"] if number % 2 else []
            trial.run(number, lambda more=more: prepare.main([*argv, *more]))
            for path in list_images(out / "crop511" / "a"):
                if cv2.imread(str(path)) is None:
                    trial.fault(number, "a crop that cannot be read")
    assert ONE or trial.refused
