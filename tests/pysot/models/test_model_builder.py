import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golden import fill
from pysot.core import config as configuration
from pysot.core.config import default_config, load_config
from pysot.models.model_builder import ModelBuilder, build_model

GOLDEN = Path(__file__).parents[2] / "golden" / "models"
EXPERIMENTS = Path(__file__).parents[3] / "experiments"
KEYS = json.loads((GOLDEN / "keys_alexnet.json").read_text())
FORWARD = json.loads((GOLDEN / "forward_alexnet.json").read_text())


def config_of(name):
    published = EXPERIMENTS / name / "config.yaml"
    return load_config(published if published.exists() else GOLDEN / f"{name}.yaml")


def filled(name):
    model = build_model(config_of(name))
    shapes = [(key, value.shape) for key, value in model.state_dict().items()]
    weights = {key: torch.from_numpy(value) for key, value in fill.fill(shapes).items()}
    model.load_state_dict(weights)
    return model


def tiny(**overrides):
    config = default_config()
    values = {
        "BACKBONE.TYPE": "alexnet",
        "BACKBONE.KWARGS": {"width_mult": 0.1},
        "ADJUST.ADJUST": False,
        "RPN.TYPE": "DepthwiseRPN",
        "RPN.KWARGS": {"anchor_num": 5, "in_channels": 25, "out_channels": 8},
        **overrides,
    }
    for key, value in values.items():
        config.merge_from_list([key, value])
    return config


@pytest.mark.parametrize("name", KEYS)
def test_parameters_have_the_published_names_shapes_and_types(name):
    state = ModelBuilder(config_of(name)).state_dict()
    assert [[k, list(v.shape), str(v.dtype)] for k, v in state.items()] == KEYS[name]


@pytest.mark.parametrize("name", FORWARD)
@torch.inference_mode()
def test_outputs_equal_recorded_ones(name):
    model = filled(name)
    for run in FORWARD[name]["runs"]:
        batch = run["batch"]
        z = torch.from_numpy(fill.image_batch(run["seed_template"], batch, 127))
        x = fill.image_batch(run["seed_search"], batch, FORWARD[name]["search_size"])
        x = torch.from_numpy(x)
        cls, loc = model.predict(model.encode_template(z), x)
        outputs = {
            "backbone_z0": model.backbone(z),
            "backbone_x0": model.backbone(x),
            "cls": cls,
            "loc": loc,
        }
        assert outputs.keys() == run["digests"].keys()
        for key, recorded in run["digests"].items():
            ours = fill.digest(outputs[key].numpy())
            assert ours["shape"] == recorded["shape"]
            for value in ("samples", "mean", "std", "min", "max"):
                np.testing.assert_allclose(ours[value], recorded[value], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("head", ["DepthwiseRPN", "UPChannelRPN"])
def test_every_parameter_learns(head):
    kwargs = {
        "DepthwiseRPN": {"anchor_num": 5, "in_channels": 25, "out_channels": 8},
        "UPChannelRPN": {"anchor_num": 5, "feature_in": 25},
    }[head]
    model = ModelBuilder(tiny(**{"RPN.TYPE": head, "RPN.KWARGS": kwargs}))
    batch = fill.train_batch(1, 2, 5, 17)
    losses = model({key: torch.from_numpy(value) for key, value in batch.items()})
    losses["total_loss"].backward()
    # the convolution biases in front of a batch norm have no effect, hence no gradient but noise
    dead = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert dead == []
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    assert all(p.grad.abs().max() > 0 for p in weights)


def test_total_loss_is_the_weighted_sum():
    model = ModelBuilder(tiny(**{"TRAIN.CLS_WEIGHT": 2.0, "TRAIN.LOC_WEIGHT": 3.0}))
    batch = {k: torch.from_numpy(v) for k, v in fill.train_batch(1, 2, 5, 17).items()}
    losses = model(batch)
    torch.testing.assert_close(
        losses["total_loss"], 2 * losses["cls_loss"] + 3 * losses["loc_loss"]
    )


@torch.inference_mode()
def test_two_targets_share_one_model():
    model = build_model(tiny())
    z = torch.from_numpy(fill.image_batch(1, 2, 127))
    x = torch.from_numpy(fill.image_batch(2, 1, 255))
    first, second = model.encode_template(z[:1]), model.encode_template(z[1:])
    alone = model.predict(first, x)[0]
    assert not torch.equal(alone, model.predict(second, x)[0])
    assert torch.equal(alone, model.predict(first, x)[0])


@torch.inference_mode()
def test_pysots_three_lines_still_work(monkeypatch):
    monkeypatch.setattr(configuration, "cfg", tiny())
    model = ModelBuilder().eval()
    z = torch.from_numpy(fill.image_batch(1, 1, 127))
    x = torch.from_numpy(fill.image_batch(2, 1, 255))
    with pytest.raises(ValueError, match="template"):
        model.track(x)
    model.template(z)
    outputs = model.track(x)
    cls, loc = model.predict(model.encode_template(z), x)
    assert torch.equal(outputs["cls"], cls)
    assert torch.equal(outputs["loc"], loc)
    assert outputs["mask"] is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"BACKBONE.TYPE": "res51"}, "BACKBONE.TYPE: unknown backbone 'res51'; known: alexnet"),
        ({"RPN.TYPE": "RPN"}, "RPN.TYPE: unknown RPN head 'RPN'"),
        ({"BACKBONE.KWARGS": {"width": 1}}, "BACKBONE.KWARGS do not fit backbone 'alexnet'"),
        ({"BACKBONE.KWARGS": {"width_mult": 1.0}}, "the head takes 25 channels"),
        ({"ANCHOR.RATIOS": [1.0]}, "make 1 anchors"),
        ({"MASK.MASK": True}, "MASK.MASK"),
    ],
)
def test_parts_that_do_not_fit_name_the_key(overrides, words):
    with pytest.raises(ValueError) as error:
        ModelBuilder(tiny(**overrides))
    assert words in str(error.value)
