import gc
import weakref
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.kernels import map_kernels
from pysot.tracker.tracker_builder import build_tracker

ROOT = Path(__file__).parents[3]
TYPES = ["SiamRPNTracker", "SiamRPNLTTracker", "DaSiamRPNTracker"]


class Frame(np.ndarray):
    """An array that can be watched; views of it are of this class too."""


def frame(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (72, 96, 3), np.uint8)
    return pixels.view(Frame)


@pytest.mark.parametrize("kind", TYPES)
def test_a_tracker_holds_no_frame(tiny_config, kind):
    cfg = load_config(tiny_config, ["TRACK.TYPE", kind])
    tracker = build_tracker(build_model(cfg), cfg)
    watched = []
    for number in range(3):
        image = frame(number)
        watched.append(weakref.ref(image))
        if number:
            tracker.track(image)
        else:
            tracker.init(image, (20, 15, 24, 18))
        del image
    gc.collect()
    assert [ref() for ref in watched] == [None, None, None]
    assert state_bytes(tracker.state) < 72 * 96 * 3 * 4


def state_bytes(state):
    """Bytes of all tensors and arrays that a state refers to; it may refer to nothing else."""
    assert is_dataclass(state)
    total = []
    for field in fields(state):
        value = getattr(state, field.name)
        if field.name == "kernels":
            map_kernels(lambda tensor: total.append(tensor.untyped_storage().nbytes()), value)
        else:
            assert not isinstance(value, (torch.Tensor, np.ndarray)), field.name
    return sum(total)


def test_a_hundred_targets_need_little_more_memory_than_one():
    cfg = load_config(ROOT / "experiments" / "siamrpn_r50_l234_dwxcorr" / "config.yaml")
    with torch.device("meta"):  # sizes alone count: nothing is computed
        model = build_model(cfg)
        kernels = model.encode_template(torch.zeros(1, 3, 127, 127))
    parameters = sum(value.nbytes for value in model.state_dict().values())
    state = []
    map_kernels(lambda tensor: state.append(tensor.untyped_storage().nbytes()), kernels)
    one, hundred = parameters + sum(state), parameters + 100 * sum(state)
    assert parameters > 200e6 and sum(state) > 0
    assert hundred < 1.5 * one
