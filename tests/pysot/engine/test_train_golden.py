"""Three training steps of AlexNet in three phases, against numbers recorded from PySOT."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golden import fill
from pysot.core.config import default_config
from pysot.engine.optim import begin_epoch, build_optimizer_plan
from pysot.models.model_builder import build_model

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "train" / "steps_alexnet.json").read_text()
)
PHASES = {phase["phase"]: phase for phase in GOLDEN["phases"]}


def configuration():
    cfg = default_config()
    cfg.merge_from_other_cfg(
        {
            "BACKBONE": {
                "TYPE": "alexnet",
                "KWARGS": {"width_mult": 1.0},
                "TRAIN_LAYERS": ["layer4", "layer5"],
                "TRAIN_EPOCH": 10,
                "LAYERS_LR": 1.0,
            },
            "ADJUST": {"ADJUST": False},
            "RPN": {
                "TYPE": "DepthwiseRPN",
                "KWARGS": {"anchor_num": 5, "in_channels": 256, "out_channels": 256},
            },
            "TRAIN": {
                "EPOCH": 50,
                "BASE_LR": 0.005,
                "BASE_SIZE": 0,
                "OUTPUT_SIZE": 17,
                "LR": {"TYPE": "log", "KWARGS": {"start_lr": 0.01, "end_lr": 0.0005}},
                "LR_WARMUP": {
                    "TYPE": "step",
                    "EPOCH": 5,
                    "KWARGS": {"start_lr": 0.005, "end_lr": 0.01, "step": 1},
                },
            },
        }
    )
    return cfg


def start(phase, dtype=torch.float32):
    cfg = configuration()
    model = build_model(cfg)
    shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    weights = fill.fill(shapes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return model.to(dtype), begin_epoch(model, build_optimizer_plan(cfg), phase["epoch"])


def cast(array, dtype):
    tensor = torch.from_numpy(array)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def parts(model):
    """Parameters by the names of the recorded norms: backbone layers and other top-level parts."""
    grouped = {}
    for name, parameter in model.named_parameters():
        depth = 2 if name.startswith("backbone.") else 1
        grouped.setdefault(".".join(name.split(".")[:depth]), []).append((name, parameter))
    return grouped


def norm(tensors):
    return float(torch.stack([t.double().norm() ** 2 for t in tensors]).sum().sqrt())


def norms(grouped, tensor_of):
    """Norm of each part, over those of its parameters for which there is a tensor."""
    found = {part: [tensor_of(n, p) for n, p in pairs] for part, pairs in grouped.items()}
    found = {part: [t for t in tensors if t is not None] for part, tensors in found.items()}
    return {part: norm(tensors) for part, tensors in found.items() if tensors}


@pytest.mark.parametrize("name", PHASES)
def test_groups_batch_norm_and_frozen_parameters(name):
    phase = PHASES[name]
    model, optimizer = start(phase)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    for group, expected in zip(optimizer.param_groups, phase["groups"], strict=True):
        assert [names[id(p)] for p in group["params"]] == expected["param_names"]
        for key in ("lr", "initial_lr", "momentum", "weight_decay", "nesterov", "dampening"):
            assert group[key] == pytest.approx(expected[key], rel=1e-12), key
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == phase["requires_grad_false"]
    norms_of_backbone = [
        (key, module.training)
        for key, module in model.backbone.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    modes = phase["bn"]
    assert [k for k, training in norms_of_backbone if training] == (
        modes["backbone_bn_in_train_mode"]
    )
    assert [k for k, training in norms_of_backbone if not training] == (
        modes["backbone_bn_in_eval_mode"]
    )


# Rounding alone moves single-precision gradients by 1e-5, since a ReLU or an L1 distance near its
# kink may take the other side; in double precision they agree far better, but slowly.
@pytest.mark.parametrize(
    ("dtype", "rel"),
    [(torch.float32, 5e-5), pytest.param(torch.float64, 1e-5, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", PHASES)
def test_three_steps(name, dtype, rel):
    phase = PHASES[name]
    model, optimizer = start(phase, dtype)
    grouped = parts(model)
    for expected in phase["steps"]:
        arrays = fill.train_batch(expected["seed"], GOLDEN["batch"], 5, GOLDEN["out"])
        losses = model({key: cast(value, dtype) for key, value in arrays.items()})
        for loss in ("cls_loss", "loc_loss", "total_loss"):
            assert losses[loss].item() == pytest.approx(expected[loss], rel=1e-5), loss
        optimizer.zero_grad(set_to_none=True)
        losses["total_loss"].backward()
        gradients = norms(grouped, lambda _, p: p.grad)
        assert gradients == pytest.approx(expected["grad_norms"], rel=rel)
        total = torch.nn.utils.clip_grad_norm_(model.parameters(), phase["grad_clip"])
        assert float(total) == pytest.approx(expected["grad_norm_total_before_clip"], rel=rel)
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        optimizer.step()
        moved = norms(grouped, lambda key, p, old=before: p.detach() - old[key])
        assert moved == pytest.approx(expected["param_delta_norms"], rel=rel)
    check_buffers(model, phase["after_3_steps"])


def check_buffers(model, expected):
    state = model.state_dict()
    counters = {key: int(state[key]) for key in expected["num_batches_tracked"]}
    assert counters == expected["num_batches_tracked"]
    for key, digest in expected["digests"].items():
        found = fill.digest(state[key].numpy())
        assert found["shape"] == digest["shape"], key
        np.testing.assert_allclose(
            found["samples"], digest["samples"], rtol=1e-4, atol=1e-5, err_msg=key
        )
