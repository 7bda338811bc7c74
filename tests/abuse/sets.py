"""Small right inputs, from which wrong ones are made."""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = (40, 30)
NAMES = ("a", "b")
FRAMES = 3
BOXES = [[8 + 2 * i, 6 + i, 12, 10] for i in range(FRAMES)]


def picture(number=0, size=SIZE):
    image = np.random.default_rng(number).integers(0, 90, (size[1], size[0], 3), np.uint8)
    x, y, w, h = BOXES[number % FRAMES]
    image[y : y + h, x : x + w] = (40, 200, 250)
    return image


def encoded(image, suffix=".jpg"):
    return cv2.imencode(suffix, image)[1].tobytes()


def write_frames(root, pattern="{video}/img/{number:04d}.jpg"):
    """Two videos of three frames; returns their names below the root."""
    names = {}
    for video in NAMES:
        names[video] = [pattern.format(video=video, number=i + 1) for i in range(FRAMES)]
        for i, name in enumerate(names[video]):
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture(i)))
    return names


def records(root):
    """The JSON of a benchmark in PySOT's format, with what any of the benchmarks reads."""
    return {
        video: {
            "video_dir": video,
            "init_rect": BOXES[0],
            "img_names": names,
            "gt_rect": BOXES,
            "attr": ["Fast Motion"],
            "width": SIZE[0],
            "height": SIZE[1],
            "camera_motion": [0, 1, 0],
            "absent": [0, 0, 1],
            "cover": [8, 8, 3],
        }
        for video, names in write_frames(root).items()
    }


def write_results(root, document, name, results):
    """Results of the tracker ``static`` over that set as a benchmark of some name."""
    from pysot.cli import test

    path = Path(root, f"{name}.json")
    path.write_text(json.dumps(document))
    argv = ["--dataset", name, "--dataset-root", str(root), "--static", "--output", str(results)]
    test.main(argv)
    path.unlink()


def packed(number):
    """One of the first three run lengths, as COCO packs them."""
    text = ""
    while True:
        bits, number = number & 31, number >> 5
        if number == 0 and not bits & 16:
            return text + chr(48 + bits)
        text += chr(48 + (bits | 32))


def coco(root):
    """A document in COCO's format, with polygons, runs and crowds."""
    write_frames(root, "{video}/{number:012d}.jpg")
    images = [
        {"id": 10 * n + i, "file_name": f"{video}/{i + 1:012d}.jpg", "width": 40, "height": 30}
        for n, video in enumerate(NAMES)
        for i in range(FRAMES)
    ]
    annotations = []
    for number, image in enumerate(images):
        x, y, w, h = BOXES[number % FRAMES]
        polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        runs = {"size": [30, 40], "counts": [30 * x, 30 * w, 1200 - 30 * (x + w)]}
        text = {
            **runs,
            "counts": "".join(map(packed, runs["counts"][:2])) + packed(1200 - 30 * x - 30 * w),
        }
        mask = (polygon, runs, text)[number % 3]
        annotations.append(
            {
                "id": number + 1,
                "image_id": image["id"],
                "bbox": [x, y, w, h],
                "category_id": 1,
                "segmentation": mask,
                "area": w * h,
                "iscrowd": int(number == 5),
            }
        )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing"}],
    }


VOC = """<annotation>
  <folder>VOC</folder><filename>{name}.jpg</filename>
  <size><width>40</width><height>30</height><depth>3</depth></size>
  <object><name>cat</name><trackid>0</trackid><occluded>0</occluded>
    <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>
  <object><name>dog</name><trackid>1</trackid><occluded>1</occluded>
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>25</ymax></bndbox></object>
</annotation>
"""


def voc(root):
    """Texts of XML files by path below the root; their images are there."""
    found = {}
    for i, (x, y, w, h) in enumerate(BOXES):
        Path(root, f"{i:06d}.jpg").write_bytes(encoded(picture(i)))
        found[f"{i:06d}.xml"] = VOC.format(x, y, x + w, y + h, name=f"{i:06d}").encode()
    return found


def csv_for_training(root):
    """The text of a table of images to train on."""
    names = write_frames(root, "{video}/{number:04d}.jpg")
    rows = ["video,frame,image,track,kind,x,y,w,h"]
    for video, images in names.items():
        for i, image in enumerate(images):
            rows.append(",".join(map(str, (video, i + 1, image, 0, "cat", *BOXES[i]))))
    return "\n".join(rows).encode() + b"\n"


def csv_for_testing(root):
    """The text of a table of the boxes of videos."""
    write_frames(root)
    rows = ["video,frame,x,y,w,h"]
    for video in NAMES:
        rows += [",".join(map(str, (video, i + 1, *box))) for i, box in enumerate(BOXES)]
    return "\n".join(rows).encode() + b"\n"


def strict_json(path):
    """A JSON file that holds neither NaN nor infinite numbers."""

    def refuse(text):
        raise AssertionError(f"{path} holds {text}")

    return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)


def numbers(value):
    """All numbers in a document."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)):
        yield value
