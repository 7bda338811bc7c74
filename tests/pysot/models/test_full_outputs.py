"""Outputs of whole networks, number by number, as built and as prepared for tracking."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model_builder import KEYS, all_maps, config_of, filled

from golden import fill
from pysot.inference import prepare_for_tracking

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("PYSOT_SHARED", ROOT.parent / "shared"))
RECORDED = SHARED / "golden" / "models"
LIMIT = 1e-4  # of the largest number of an output

PREPARE = [lambda model: model, prepare_for_tracking]
AS_BUILT_AND_PREPARED = pytest.mark.parametrize("prepare", PREPARE, ids=["as built", "prepared"])


def slow_unless_small(names):
    return [
        pytest.param(name, marks=[] if "alex" in name else pytest.mark.slow)
        for name in sorted(names)
    ]


def recordings():
    return slow_unless_small(path.stem.removeprefix("forward_") for path in RECORDED.glob("*.npz")
                             if path.stem.startswith("forward_"))  # fmt: skip


def inputs(run, size):
    seeds = (run["seed_template"], 127), (run["seed_search"], size)
    return [torch.from_numpy(fill.image_batch(seed, run["batch"], side)) for seed, side in seeds]


def apart(ours, expected):
    """Largest difference, relative to the largest expected number."""
    ours, expected = (np.asarray(values, np.float64) for values in (ours, expected))
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


@pytest.mark.data
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"needs the recorded arrays in {RECORDED}")
@pytest.mark.parametrize("name", recordings())
@AS_BUILT_AND_PREPARED
@torch.inference_mode()
def test_every_number_equals_the_recorded_one(name, prepare):
    recorded = json.loads((RECORDED / f"forward_{name}.json").read_text())
    arrays = np.load(RECORDED / f"forward_{name}.npz")
    outputs = all_maps(prepare(filled(name)), *inputs(recorded["runs"][0], recorded["search_size"]))
    worst = {key: apart(outputs[key].numpy(), arrays[key]) for key in arrays}
    print(f"{name}: {worst}")
    assert {"cls", "loc"} <= worst.keys()
    assert max(worst.values()) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KEYS))
@torch.inference_mode()
def test_preparing_a_network_changes_no_number(name):
    """Of every architecture, recorded or not, with other images than the recorded ones."""
    run = {"seed_template": 7, "seed_search": 8, "batch": 1}
    model, size = filled(name), config_of(name).TRACK.INSTANCE_SIZE
    prepared = all_maps(prepare_for_tracking(model), *inputs(run, size))
    expected = all_maps(model, *inputs(run, size))
    worst = {key: apart(prepared[key].numpy(), expected[key].numpy()) for key in expected}
    print(f"{name}: {max(worst.values()):.1e} in {max(worst, key=worst.get)}")
    assert max(worst.values()) < LIMIT
