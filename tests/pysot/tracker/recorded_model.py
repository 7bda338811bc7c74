"""A stand-in network that returns recorded outputs, and runs over recorded steps with it."""

import json
from pathlib import Path

import numpy as np
import torch

from golden import fill

GOLDEN = Path(__file__).parents[2] / "golden"


class RecordedModel:
    """Returns the recorded outputs of one step and remembers what it was shown."""

    def __init__(self, base_size=8):
        self.base_size = base_size

    def encode_template(self, z):
        self.z = z
        return ()

    def predict(self, kernels, x):
        assert kernels == ()
        self.x = x
        side = (x.shape[-1] - 127) // 8 + 1 + self.base_size
        step = self.step
        outputs = fill.stub_outputs(step["seed"], step["gain"], step["bias"], 5, side)
        return tuple(torch.from_numpy(output) for output in outputs)

    predict_with_mask = predict

    def refine(self, prediction, position):
        self.position = position
        logits = fill.refine_logits(self.step["seed"]).astype(np.float32)
        return torch.from_numpy(logits).reshape(1, -1)


def recorded(path):
    return json.loads((GOLDEN / path).read_text())


def start(tracker, run):
    """Start a tracker on a run's drawn image, which it returns."""
    image = fill.rule_image(run["seed_image"], run["H"], run["W"])
    tracker.init(image, run["init_rect"])
    return image


def samples(array):
    return fill.digest(np.asarray(array))["samples"]


def check_result(result, step):
    """Compare boxes to 1e-3 px and the kinds of their numbers."""
    np.testing.assert_allclose(result["bbox"], step["bbox"], atol=1e-3)
    np.testing.assert_allclose(result["best_score"], step["best_score"], atol=1e-6)
    integers = [kind == "int" for kind in step["bbox_types"]]
    assert [isinstance(value, int) for value in result["bbox"]] == integers


def cyclic_distance(polygon, expected):
    """Largest coordinate difference of two polygons, whichever corner each starts at."""
    polygon, expected = np.reshape(polygon, (-1, 2)), np.reshape(expected, (-1, 2))
    return min(
        np.abs(np.roll(corners, shift, axis=0) - expected).max()
        for corners in (polygon, polygon[::-1])
        for shift in range(len(polygon))
    )
