"""Deterministic weights and inputs for the golden data.  Independent of any tracking code.

Only dependency: numpy.  Every random number comes from
    u = numpy.random.Generator(numpy.random.PCG64(seed)).random(n)          # float64 in [0, 1)
which is the plain 53-bit PCG64 stream, drawn once per tensor, C order.
See README.md for the same rule in words.
"""

import math
import zlib

import numpy as np

SQRT3 = math.sqrt(3.0)


def _u(seed, n):
    return np.random.Generator(np.random.PCG64(seed)).random(n)


def conv_gain(key, shape):
    """Multiplier on the He standard deviation sqrt(2 / fan_in); first matching line wins."""
    if shape[1] == 3 and "backbone" in key:  # network input is 0..255
        return 1.0 / 64
    if ".conv." in key:  # inverted-residual blocks
        return 0.85
    if "backbone.layer" in key and (".conv" in key or ".downsample" in key):  # resnet blocks
        return 0.4 if key.endswith(".conv1.weight") and shape[2] == 3 else 0.66
    if "template_" in key:  # up-channel head, kernel branch
        return 1.0 / 2048
    if ".search_" in key:  # up-channel head, search branch
        return 1.0 / 16
    if ".conv_kernel." in key:  # depth-wise head, kernel branch
        return 1.0 / 8
    if ".conv_search." in key:  # depth-wise head, search branch
        return 1.0 / 4
    if key.endswith("head.0.weight"):  # right after depth-wise correlation
        return 0.25
    if ".loc.head.3" in key or "loc_adjust" in key:  # box deltas
        return 0.03
    if key.endswith("head.3.weight"):  # class / mask logits
        return 0.1
    if "refine_head.deconv" in key:
        return 1.0 / 8
    if "refine_head.post2" in key:
        return 0.5
    return 1.0


def fill_one(key, shape, salt=""):
    shape = tuple(int(s) for s in shape)
    n = int(np.prod(shape)) if shape else 1
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    u = _u(zlib.crc32((salt + key).encode("utf-8")), n)
    sym = 2.0 * u - 1.0  # U(-1, 1)
    if key.endswith("running_mean"):
        v = 0.1 * SQRT3 * sym
    elif key.endswith("running_var"):
        v = 0.5 + u
    elif key.endswith("cls_weight") or key.endswith("loc_weight"):  # layer-fusion logits
        v = 0.5 * SQRT3 * sym
    elif len(shape) == 4:  # convolution
        fan_in = shape[0] if "deconv" in key else shape[1] * shape[2] * shape[3]
        v = conv_gain(key, shape) * math.sqrt(2.0 / fan_in) * SQRT3 * sym
    elif len(shape) == 1 and key.endswith(".weight"):  # batch-norm scale
        v = 0.5 + u
    elif key.endswith("refine_head.post2.bias"):  # puts mask logits around the thresholds
        v = np.full(n, -5.0)
    elif len(shape) == 1 and key.endswith(".bias"):
        v = (0.1 / 64 if "template_" in key else 0.1) * SQRT3 * sym
    else:
        raise KeyError(f"no rule for {key!r} {shape!r}")
    return v.reshape(shape).astype(np.float32)


def fill(state_dict_shapes, salt=""):
    """{key: shape} (or [(key, shape), ...]) -> {key: ndarray}."""
    items = state_dict_shapes.items() if hasattr(state_dict_shapes, "items") else state_dict_shapes
    return {it[0]: fill_one(it[0], it[1], salt) for it in items}


def image_batch(seed, batch, size):
    """float32 (batch, 3, size, size), uniform in [0, 255)."""
    return (
        (255.0 * _u(seed, batch * 3 * size * size)).reshape(batch, 3, size, size).astype(np.float32)
    )


def train_batch(seed, batch, anchors, out, exemplar=127, search=255):
    """Rule-based training batch (numpy arrays, names as the data loader's)."""
    n = batch * anchors * out * out
    u = _u(seed + 2, n)
    cls = np.full(n, -1, np.int64)
    cls[u < 0.10] = 0
    cls[u < 0.02] = 1
    cls = cls.reshape(batch, anchors, out, out)
    loc = (2.0 * _u(seed + 3, 4 * n) - 1.0).reshape(batch, 4, anchors, out, out).astype(np.float32)
    pos = cls == 1
    num = pos.reshape(batch, -1).sum(1).reshape(batch, 1, 1, 1)
    w = (pos / (num + 1e-6)).astype(np.float32)
    return {
        "template": image_batch(seed, batch, exemplar),
        "search": image_batch(seed + 1, batch, search),
        "label_cls": cls,
        "label_loc": loc,
        "label_loc_weight": w,
    }


def digest(a):
    """Shape, float64 mean/std/min/max and 64 evenly strided samples of the flattened array."""
    f = np.asarray(a).reshape(-1).astype(np.float64)
    idx = (np.arange(64) * f.size) // 64
    return {
        "shape": list(np.asarray(a).shape),
        "mean": float(f.mean()),
        "std": float(f.std()),
        "min": float(f.min()),
        "max": float(f.max()),
        "samples": [float(x) for x in f[idx]],
    }


# ---- helpers for the geometry / tracker-maths goldens -------------------------------------------


def uniform(seed, n):
    """The raw stream itself: float64 in [0, 1)."""
    return _u(seed, n)


def rule_image(seed, h, w):
    """uint8 (h, w, 3) image."""
    return np.floor(256 * _u(seed, h * w * 3)).reshape(h, w, 3).astype(np.uint8)


def stub_outputs(seed, gain, bias, anchors, n):
    """What the stub network returns: cls (1, 2A, n, n), loc (1, 4A, n, n), float32."""
    cls = (gain * (2 * _u(seed, 2 * anchors * n * n) - 1)).reshape(1, 2 * anchors, n, n)
    cls[:, anchors:] += bias
    loc = (0.4 * (2 * _u(seed + 1, 4 * anchors * n * n) - 1)).reshape(1, 4 * anchors, n, n)
    return cls.astype(np.float32), loc.astype(np.float32)


def refine_logits(seed):
    """float64 (127, 127): 6 - elliptic distance, as the stub network refines masks."""
    a = _u(seed + 2, 5)
    cy, cx = 40 + 47 * a[0], 40 + 47 * a[1]
    ay, ax, th = 2 + 4 * a[2], 2 + 4 * a[3], np.pi * a[4]
    y, x = np.mgrid[0:127, 0:127]
    u = (x - cx) * np.cos(th) + (y - cy) * np.sin(th)
    v = -(x - cx) * np.sin(th) + (y - cy) * np.cos(th)
    return 6 - np.sqrt((u / ax) ** 2 + (v / ay) ** 2)


def blob(seed, kind):
    """float32 (120, 160) probability map for mask post-processing."""
    m = np.zeros((120, 160), np.float32)
    y, x = np.mgrid[0:120, 0:160]
    if kind == "empty":
        return m
    if kind == "small":
        m[10:15, 10:15] = 1
        return m
    a = _u(seed, 6)
    th = np.pi * a[0]
    cx, cy = 60 + 40 * a[1], 45 + 30 * a[2]
    u = (x - cx) * np.cos(th) + (y - cy) * np.sin(th)
    v = -(x - cx) * np.sin(th) + (y - cy) * np.cos(th)
    if kind == "rect":
        m[(np.abs(u) < 15 + 10 * a[3]) & (np.abs(v) < 6 + 6 * a[4])] = 0.9
    if kind == "ellipse":
        m[(u / (18 + 10 * a[3])) ** 2 + (v / (7 + 5 * a[4])) ** 2 < 1] = 0.8
    if kind == "two":
        m[(np.abs(u) < 20) & (np.abs(v) < 8)] = 0.5
        m[100:112, 2:30] = 0.9
    return m
