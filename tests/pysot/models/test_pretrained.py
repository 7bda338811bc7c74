import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pysot.core.registry import BACKBONES
from pysot.models.backbone.pretrained import load_backbone

NORM_PARTS = ("running_mean", "running_var", "weight", "bias")  # in F.batch_norm's order
MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
IMAGE = torch.randint(0, 256, (1, 3, 127, 127), generator=torch.Generator().manual_seed(1)).float()


def normalized(bgr):
    return (bgr.flip(1) / 255 - MEAN) / STD


def drawn(shapes):
    """Random weights for names and shapes, of a size that keeps features near 1."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if len(shape) == 4:
            value *= (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif key.endswith(("running_var", "weight")):
            value = 0.7 + value.abs() * 0.3
        else:
            value *= 0.1
        weights[key] = value
    return weights


def norm_shapes(name, channels):
    return {f"{name}.{part}": (channels,) for part in NORM_PARTS}


def resnet_weights(name):
    """torchvision's names and shapes: its shortcuts are 1x1, and a classifier follows."""
    with torch.device("meta"):
        backbone = BACKBONES.build(name, used_layers=[2, 3, 4])
    shapes = {k: tuple(v.shape) for k, v in backbone.state_dict().items() if v.dim()}
    for key, shape in shapes.items():
        if "downsample.0" in key:
            shapes[key] = (*shape[:2], 1, 1)
    return drawn(shapes | {"fc.weight": (1000, shapes["layer4.1.bn2.weight"][0])})


@torch.inference_mode()
@pytest.mark.parametrize(("name", "used"), [("resnet18", [0, 2, 3, 4]), ("resnet50", [1, 2])])
def test_resnets_give_the_features_of_the_weights_on_normalized_images(tmp_path, name, used):
    weights = resnet_weights(name)
    torch.save(weights, tmp_path / "resnet.pth")
    ours, plain = (BACKBONES.build(name, used_layers=used).eval() for _ in range(2))
    load_backbone(ours, tmp_path / "resnet.pth")
    state = plain.state_dict()
    for key in state.keys() & weights.keys():
        kernel = state[key].zero_()
        # the only entries of another shape: a 1x1 kernel goes to the center
        target = kernel[:, :, 1:2, 1:2] if kernel.shape != weights[key].shape else kernel
        target.copy_(weights[key])
    for own, expected in zip(ours(IMAGE), plain(normalized(IMAGE)), strict=True):
        assert expected.std() > 0.1
        assert (own - expected).abs().max() <= 1e-4 * expected.abs().max()


# (expansion, channels, blocks, stride) of Sandler et al., 2018, table 2
MOBILE_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 1),
    (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1),
)  # fmt: skip


def mobile_weights():
    """torchvision's names and shapes: the first block has no expansion."""
    shapes = {"features.0.0.weight": (32, 3, 3, 3), **norm_shapes("features.0.1", 32)}
    inputs, index = 32, 1
    for expansion, outputs, blocks, _ in MOBILE_STAGES:
        for _ in range(blocks):
            name, hidden = f"features.{index}.conv", inputs * expansion
            step = 0
            if expansion > 1:
                shapes |= {f"{name}.0.0.weight": (hidden, inputs, 1, 1)}
                shapes |= norm_shapes(f"{name}.0.1", hidden)
                step = 1
            shapes |= {f"{name}.{step}.0.weight": (hidden, 1, 3, 3)}
            shapes |= norm_shapes(f"{name}.{step}.1", hidden)
            shapes |= {f"{name}.{step + 1}.weight": (outputs, hidden, 1, 1)}
            shapes |= norm_shapes(f"{name}.{step + 2}", outputs)
            inputs, index = outputs, index + 1
    shapes |= {"features.18.0.weight": (1280, 320, 1, 1), **norm_shapes("features.18.1", 1280)}
    return drawn(shapes | {"classifier.1.weight": (1000, 1280)})


def mobile_stage(weights, x, number, geometry):
    """Run a stage as torchvision's weights lay it out; geometry: dilation of each block."""
    expansion, outputs, _, stride = MOBILE_STAGES[number - 1]
    first = 1 + sum(stage[2] for stage in MOBILE_STAGES[: number - 1])

    def norm(y, name):
        return F.batch_norm(y, *(weights[f"{name}.{part}"] for part in NORM_PARTS))

    for block, dilation in enumerate(geometry):
        name, y, step = f"features.{first + block}.conv", x, 0
        if expansion > 1:
            y = F.relu6(norm(F.conv2d(y, weights[f"{name}.0.0.weight"]), f"{name}.0.1"))
            step = 1
        s = stride if block == 0 else 1
        padding = 2 - s if dilation == 1 else dilation
        kernel = weights[f"{name}.{step}.0.weight"]
        y = F.conv2d(y, kernel, None, s, padding, dilation, groups=len(kernel))
        y = F.relu6(norm(y, f"{name}.{step}.1"))
        y = norm(F.conv2d(y, weights[f"{name}.{step + 1}.weight"]), f"{name}.{step + 2}")
        x = x + y if s == 1 and x.shape[1] == outputs else y
    return x


@torch.inference_mode()
def test_mobilenet_gives_the_features_of_the_weights_on_normalized_images(tmp_path):
    weights = mobile_weights()
    torch.save(weights, tmp_path / "mobilenet.pth")
    backbone = BACKBONES.build("mobilenetv2", used_layers=list(range(8))).eval()
    load_backbone(backbone, tmp_path / "mobilenet.pth")
    x = F.conv2d(normalized(IMAGE), weights["features.0.0.weight"], stride=2)
    x = F.relu6(F.batch_norm(x, *(weights[f"features.0.1.{part}"] for part in NORM_PARTS)))
    dilations = ([1], [1, 1], [1, 1, 1], [1, 2, 2, 2], [2, 2, 2], [2, 4, 4], [4])
    expected = [x]
    for number, geometry in enumerate(dilations, start=1):
        expected.append(mobile_stage(weights, expected[-1], number, geometry))
    for own, theirs in zip(backbone(IMAGE), expected, strict=True):
        assert theirs.std() > 0.1
        assert (own - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def small(width=2):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.", "module.backbone."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_files_in_our_own_layout_are_taken_as_they_are(tmp_path, prefix, wrapped, caplog):
    source, target = small(), small()
    weights = {prefix + key: value for key, value in source.state_dict().items()}
    weights["fc.weight"] = torch.ones(2)
    torch.save({"state_dict": weights} if wrapped else weights, tmp_path / "own.pth")
    load_backbone(target, tmp_path / "own.pth")
    assert torch.equal(target[0].weight, source[0].weight)
    assert "not used: fc (1 of 1 entries)" in caplog.text


def test_alexnets_files_may_leave_out_the_only_child(tmp_path):
    source, target = (BACKBONES.build("alexnetlegacy", width_mult=0.1) for _ in range(2))
    torch.save(source.features.state_dict(), tmp_path / "alexnet.pth")
    load_backbone(target, tmp_path / "alexnet.pth")
    assert torch.equal(target.features[0].weight, source.features[0].weight)


def test_resnets_with_wide_shortcuts_are_not_taken_for_torchvisions(tmp_path):
    source, target = (BACKBONES.build("resnet18", used_layers=[2]) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "resnet.model")
    load_backbone(target, tmp_path / "resnet.model")
    assert torch.equal(target.conv1.weight, source.conv1.weight)


def test_files_must_fit(tmp_path):
    torch.save(small(width=4).state_dict(), tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b.pth does not fit: .*0.weight \(4, 3"):
        load_backbone(small(), tmp_path / "b.pth")
    torch.save({"other": torch.ones(1)}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"missing: .*0\.weight"):
        load_backbone(small(), tmp_path / "c.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(resnet_weights("resnet18"), tmp_path / "resnet.pth")
    backbone = BACKBONES.build("mobilenetv2")
    with pytest.raises(ValueError, match=r"does not fit: .*missing: layer0\.0\.weight"):
        load_backbone(backbone, tmp_path / "resnet.pth")


def fake_torchvision(monkeypatch, get_state_dict):
    entry = types.SimpleNamespace(get_state_dict=get_state_dict)
    models = types.ModuleType("torchvision.models")
    models.get_model_weights = lambda name: {"IMAGENET1K_V1": entry}
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


def test_torchvisions_own_weights_are_fetched_by_name(monkeypatch):
    weights = resnet_weights("resnet18")
    fake_torchvision(monkeypatch, lambda progress: weights)
    backbone = BACKBONES.build("resnet18", used_layers=[2, 3, 4])
    load_backbone(backbone, "torchvision://resnet18")
    expected = weights["layer3.0.downsample.0.weight"][:, :, 0, 0]
    assert torch.equal(backbone.layer3[0].downsample[0].weight[:, :, 1, 1], expected)


def test_a_failing_download_names_the_way_out(monkeypatch):
    def fail(progress):
        raise OSError("no network")

    fake_torchvision(monkeypatch, fail)
    with pytest.raises(OSError, match=r"could not be downloaded \(no network\); give the path"):
        load_backbone(nn.Identity(), "torchvision://resnet18")


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"torchvision": None}, "'torchvision://resnet50' needs torchvision: pip install torchv"),
        ({"torchvision": {}, "torchvision.models": None}, r"which is installed but broken \("),
        ({"torchvision": {}, "torchvision.models": {}}, "no attribute 'get_model_weights'"),
    ],
)
def test_torchvision_may_be_absent_or_broken_or_old(monkeypatch, modules, message):
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)
    for name, content in modules.items():
        module = None if content is None else types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(ValueError, match=rf"{message}.*; or give the path of a state_dict file"):
        load_backbone(nn.Identity(), "torchvision://resnet50")


def test_unknown_torchvision_models_are_refused():
    with pytest.raises(ValueError, match=r"unknown model .*known: torchvision://mobilenet_v2"):
        load_backbone(nn.Identity(), "torchvision://vgg16")
