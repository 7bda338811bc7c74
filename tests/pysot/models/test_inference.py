import numpy as np
import pytest
import torch
from test_fuse import CONFIGS
from test_fuse import filled as filled_small
from test_model_builder import FORWARD, all_maps, filled
from torch import nn

from golden import fill
from pysot.inference import WinogradConv2d, prepare_for_tracking
from pysot.tracker.network import select

ALEXNETS = [name for name in FORWARD if "alex" in name]
LARGE = [name for name in FORWARD if name not in ALEXNETS]


@pytest.mark.parametrize(
    "name", [*ALEXNETS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
@torch.inference_mode()
def test_outputs_equal_recorded_ones(name):
    run = FORWARD[name]["runs"][0]
    z = torch.from_numpy(fill.image_batch(run["seed_template"], run["batch"], 127))
    x = fill.image_batch(run["seed_search"], run["batch"], FORWARD[name]["search_size"])
    network = prepare_for_tracking(filled(name))
    outputs = all_maps(network, z, torch.from_numpy(x))
    for key, expected in run["digests"].items():
        ours = fill.digest(outputs[key].contiguous().numpy())
        for value in ("samples", "mean", "std", "min", "max"):
            np.testing.assert_allclose(ours[value], expected[value], rtol=1e-4, atol=2e-5)


def outputs(network):
    z, x = (
        torch.from_numpy(fill.image_batch(seed, 1, size)) for seed, size in ((1, 127), (2, 255))
    )
    with torch.inference_mode():
        run = network.predict_with_mask if network.has_masks else network.predict
        return run(network.encode_template(z), x)[:2]


@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-5), ("bf16", 0.1), ("fp16", 0.02)])
def test_precision_says_how_near_the_outputs_are(precision, error):
    model = filled_small("alexnet")
    network = prepare_for_tracking(model, precision)
    for ours, expected in zip(outputs(network), outputs(model), strict=True):
        assert (ours.float() - expected).abs().max() < error * expected.abs().max()


def test_wide_convolutions_of_every_frame_are_replaced_and_no_others():
    model = filled("siamrpn_alex_dwxcorr")
    network = prepare_for_tracking(model)
    replaced = {n for n, m in network.named_modules() if isinstance(m, WinogradConv2d)}
    backbone = {name for name in replaced if name.startswith("backbone.")}
    assert len(backbone) == 3
    heads = {"rpn_head.cls.conv_search.0", "rpn_head.loc.conv_search.0"}
    assert replaced - backbone == heads


def test_without_winograd_the_memory_is_that_of_the_model():
    model = filled("siamrpn_alex_dwxcorr")

    def size(network):
        return sum(value.nbytes for value in network.state_dict().values())

    assert size(prepare_for_tracking(model, winograd=False)) <= size(model)
    assert size(prepare_for_tracking(model)) > 2 * size(model)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_model_stays_as_it_was(name):
    model = filled_small(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layouts = [parameter.stride() for parameter in model.parameters()]
    network = prepare_for_tracking(model, "bf16")
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [parameter.stride() for parameter in model.parameters()] == layouts
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert outputs(model)[0].dtype == torch.float32


def test_compilation_leaves_the_interface(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda f, mode: compiled.append((f, mode)) or f)
    network = prepare_for_tracking(filled_small("mobilenetv2"), compile=True)
    assert compiled == [(network.features, "default")]
    assert outputs(network)[0].shape == (1, 10, 25, 25)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["alexnet", "mobilenetv2", "resnet18", "resnet50"])
@torch.inference_mode()
def test_compiled_networks_on_a_device_give_what_the_network_gives(name, precision):
    """Two targets in turn, at changing sizes, some of them together."""
    model = filled_small(name).cuda()
    plain, compiled = (prepare_for_tracking(model, precision, compile=c) for c in (False, True))

    def frames(network):
        method = network.predict_with_mask if network.has_masks else network.predict
        kernels = network.encode_template(images(1, 127, 2))
        found = [
            method(select(kernels, number), images(seed, size))[:2]
            for seed, size in enumerate((255, 287, 255, 287), 10)
            for number in (0, 1)
        ]
        return [*found, method(kernels, images(5, 255, 2))[:2]]

    def images(seed, size, batch=1):
        return torch.from_numpy(fill.image_batch(seed, batch, size)).cuda()

    for mine, theirs in zip(frames(compiled), frames(plain), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a - b).abs().max() <= (1e-4 if precision == "fp32" else 1e-2) * b.abs().max()


def test_unknown_precision_and_training_mode_are_refused():
    model = filled_small("alexnet")
    with pytest.raises(ValueError, match=r"TRACK\.PRECISION.*'int8'.*fp32, bf16, fp16"):
        prepare_for_tracking(model, "int8")
    with pytest.raises(ValueError, match="evaluation mode"):
        prepare_for_tracking(model.train())
