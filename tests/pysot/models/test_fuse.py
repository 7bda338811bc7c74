import pytest
import torch
from torch import nn

from golden import fill
from pysot.core.config import default_config
from pysot.engine.optim import freeze_backbone
from pysot.inference import fold_frozen_backbone, fuse_batch_norm
from pysot.models.model_builder import build_model

PLAIN = {"ADJUST.ADJUST": False, "RPN.TYPE": "DepthwiseRPN"}
CONFIGS = {
    "alexnet": PLAIN
    | {
        "BACKBONE.TYPE": "alexnet",
        "BACKBONE.KWARGS": {"width_mult": 0.25},
        "RPN.KWARGS": {"anchor_num": 5, "in_channels": 64, "out_channels": 16},
    },
    "alexnetlegacy": PLAIN
    | {
        "BACKBONE.TYPE": "alexnetlegacy",
        "BACKBONE.KWARGS": {"width_mult": 0.25},
        "RPN.KWARGS": {"anchor_num": 5, "in_channels": 64, "out_channels": 16},
    },
    "mobilenetv2": {
        "BACKBONE.TYPE": "mobilenetv2",
        "BACKBONE.KWARGS": {"width_mult": 0.25, "used_layers": [3, 7]},
        "ADJUST.KWARGS": {"in_channels": [8, 80], "out_channels": [16, 16]},
        "RPN.KWARGS": {"anchor_num": 5, "in_channels": [16, 16], "weighted": True},
    },
    "resnet18": {
        "BACKBONE.TYPE": "resnet18",
        "BACKBONE.KWARGS": {"used_layers": [3]},
        "ADJUST.KWARGS": {"in_channels": [256], "out_channels": [16]},
        "RPN.TYPE": "DepthwiseRPN",
        "RPN.KWARGS": {"anchor_num": 5, "in_channels": 16, "out_channels": 16},
        "MASK.MASK": True,
        "MASK.KWARGS": {"in_channels": 16, "hidden": 16, "out_channels": 9},
    },
    "resnet50": {
        "BACKBONE.TYPE": "resnet50",
        "BACKBONE.KWARGS": {"used_layers": [2]},
        "ADJUST.KWARGS": {"in_channels": [512], "out_channels": [16]},
        "RPN.TYPE": "UPChannelRPN",
        "RPN.KWARGS": {"anchor_num": 5, "feature_in": 16},
    },
}


def filled(name):
    config = default_config()
    for key, value in CONFIGS[name].items():
        config.merge_from_list([key, value])
    model = build_model(config)
    shapes = [(key, value.shape) for key, value in model.state_dict().items()]
    weights = {key: torch.from_numpy(value) for key, value in fill.fill(shapes).items()}
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_outputs_stay_and_no_batch_norm_does(name):
    model = filled(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fused = fuse_batch_norm(model)
    assert not [m for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    z = torch.from_numpy(fill.image_batch(1, 1, 127))
    x = torch.from_numpy(fill.image_batch(2, 1, 255))
    run = "predict_with_mask" if model.has_masks else "predict"
    outputs, expected = (getattr(m, run)(m.encode_template(z), x) for m in (fused, model))
    for ours, theirs in zip(outputs[:3], expected[:3], strict=True):
        assert theirs.std() > 1e-3
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_training_mode_is_refused():
    model = filled("alexnet")
    model.backbone.layer3.train()
    with pytest.raises(ValueError, match="evaluation mode"):
        fuse_batch_norm(model)


@pytest.mark.parametrize("learning", [(), ("layer5",)])
def test_a_frozen_backbone_trains_folded_to_the_same_losses(learning):
    model = filled("alexnet")
    freeze_backbone(model, learning)
    images = torch.from_numpy(fill.image_batch(1, 2, 127))
    (expected,), names = model.backbone_maps(images), set(model.state_dict())
    fold_frozen_backbone(model)
    (found,) = model.backbone_maps(images)
    assert set(model.state_dict()) == names
    norms = [m for m in model.frozen_backbone[0].modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == len(learning)
    assert found.requires_grad == bool(learning)
    close = {"rtol": 1e-4, "atol": 1e-4 * expected.abs().max().item()}
    torch.testing.assert_close(found, expected, **close)
    if learning:
        weights = torch.linspace(-1, 1, found.numel()).reshape(found.shape)
        kernel = model.backbone.layer5[0].weight
        one, other = (
            torch.autograd.grad((m * weights).sum(), kernel)[0] for m in (found, expected)
        )
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3 * other.abs().max().item())


def test_a_backbone_that_learns_whole_stays():
    model = filled("alexnet").train()
    fold_frozen_backbone(model)
    assert model.frozen_backbone == []


def test_only_pairs_are_folded():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    assert isinstance(fuse_batch_norm(network)[2], nn.BatchNorm2d)
    assert not any(p.requires_grad for p in fuse_batch_norm(network).parameters())
