"""A training set of a few drawn crops, and a network small enough to train in a test."""

import json

import cv2
import numpy as np


def write_training_set(folder, videos=4, frames=3):
    """Write crops of bright rectangles on noise in PySOT's format; returns the annotations."""
    annotations = {}
    for video in range(videos):
        width, height = 40 + 10 * video, 60
        crops = folder / "crop511" / f"v{video}"
        crops.mkdir(parents=True)
        boxes = {}
        for frame in range(frames):
            image = np.random.default_rng([video, frame]).integers(0, 90, (511, 511, 3), np.uint8)
            cv2.rectangle(image, (230, 220), (280, 290), (60 * video, 200, 255), -1)
            cv2.imwrite(str(crops / f"{frame:06d}.00.x.jpg"), image)
            boxes[f"{frame:06d}"] = [10, 20, 10 + width, 20 + height]
        annotations[f"v{video}"] = {"00": boxes}
    (folder / "train.json").write_text(json.dumps(annotations))
    return annotations


def tiny_config(folder, **train):
    """Write a configuration for that set; ``train`` overrides keys of TRAIN. Returns its path.

    The backbone is unfrozen in the second epoch, so that a run crosses that border.
    """
    layers = [f"layer{number}" for number in range(1, 6)]
    content = {
        "META_ARC": "tiny",
        "CUDA": False,
        "DEVICE": "cpu",
        "BACKBONE": {
            "TYPE": "alexnet",
            "KWARGS": {"width_mult": 0.05},
            "TRAIN_LAYERS": layers,
            "TRAIN_EPOCH": 1,
        },
        "ADJUST": {"ADJUST": False},
        "RPN": {
            "TYPE": "DepthwiseRPN",
            "KWARGS": {"anchor_num": 5, "in_channels": 12, "out_channels": 8},
        },
        "TRAIN": {
            "EPOCH": 3,
            "BATCH_SIZE": 2,
            "BASE_SIZE": 0,
            "OUTPUT_SIZE": 17,
            "NUM_WORKERS": 0,
            "PRINT_FREQ": 1,
            "LOG_DIR": str(folder / "logs"),
            "SNAPSHOT_DIR": str(folder / "snapshot"),
            "LR": {"TYPE": "log", "KWARGS": {"start_lr": 0.01, "end_lr": 0.001}},
            "LR_WARMUP": {"WARMUP": False},
            **train,
        },
        "DATASET": {
            "NAMES": ["MINI"],
            "MINI": {
                "ROOT": str(folder / "crop511"),
                "ANNO": str(folder / "train.json"),
                "FRAME_RANGE": 2,
            },
            "VIDEOS_PER_EPOCH": 8,
        },
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def boxless_config(folder, **train):
    """Write the same configuration with the head of SiamFC; see :func:`tiny_config`."""
    path = tiny_config(folder, **train)
    content = json.loads(path.read_text())
    content["RPN"] = {"TYPE": "FC", "KWARGS": {}}
    path.write_text(json.dumps(content))
    return path


def mask_configs(folder):
    """Write masks to that set, and ``base.yaml`` and ``refine.yaml`` of SiamMask's two stages."""
    mask = np.zeros((511, 511), np.uint8)
    mask[220:291, 230:281] = 255
    for path in (folder / "crop511").glob("*/*.x.jpg"):
        cv2.imwrite(str(path).replace(".x.jpg", ".m.png"), mask)
    content = json.loads(tiny_config(folder, EPOCH=1).read_text())
    content["BACKBONE"] = {
        "TYPE": "resnet18",
        "KWARGS": {"used_layers": [0, 1, 2, 3], "width_mult": 0.07},
        "TRAIN_LAYERS": ["layer3"],
        "TRAIN_EPOCH": 0,
    }
    content["ADJUST"] = {"ADJUST": True, "KWARGS": {"in_channels": [17], "out_channels": [8]}}
    content["RPN"]["KWARGS"] = {"anchor_num": 5, "in_channels": 8, "out_channels": 8}
    mask_head = {"in_channels": 8, "hidden": 8, "out_channels": 3969}
    content["MASK"] = {"MASK": True, "KWARGS": mask_head}
    content["TRAIN"] |= {"BASE_SIZE": 8, "OUTPUT_SIZE": 25, "MASK_WEIGHT": 36}
    content["DATASET"] |= {"VIDEOS_PER_EPOCH": 4, "NEG": 0.0}
    (folder / "base.yaml").write_text(json.dumps(content))
    content["BACKBONE"]["TRAIN_LAYERS"] = []
    content["REFINE"] = {"REFINE": True}
    content["TRAIN"] |= {"SEARCH_SIZE": 143, "BASE_SIZE": 0, "OUTPUT_SIZE": 3}
    content["TRAIN"] |= {"CLS_WEIGHT": 0.0, "LOC_WEIGHT": 0.0}
    content["TRAIN"] |= {"FROZEN": ["neck", "rpn_head", "mask_head"]}
    content["TRAIN"] |= {"PRETRAINED": str(folder / "first.pth")}
    (folder / "refine.yaml").write_text(json.dumps(content))


def write_benchmark(folder):
    """A benchmark ``Tiny`` of one video of four frames."""
    boxes = [[100 + 4 * frame, 80, 60, 50] for frame in range(4)]
    names = [f"A/{frame:04d}.jpg" for frame in range(4)]
    (folder / "A").mkdir(parents=True)
    for (x, y, w, h), name in zip(boxes, names, strict=True):
        image = np.full((240, 320, 3), 60, np.uint8)
        cv2.rectangle(image, (x, y), (x + w, y + h), (0, 200, 255), -1)
        cv2.imwrite(str(folder / name), image)
    video = {"video_dir": "A", "init_rect": boxes[0], "img_names": names, "gt_rect": boxes}
    (folder / "Tiny.json").write_text(json.dumps({"A": {**video, "attr": []}}))
