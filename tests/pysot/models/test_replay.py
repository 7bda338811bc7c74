import warnings

import pytest
import torch
from test_fuse import filled
from test_model_builder import tiny
from torch import Tensor

from golden import fill
from pysot.models import replay
from pysot.models.inference import _replay, prepare_for_tracking
from pysot.models.kernels import map_kernels, select
from pysot.models.model_builder import build_model
from pysot.models.replay import Replayed

SIZES = (255, 287)


class Recorder:
    """Does on the CPU what a CUDA graph does: the same tensors hold every answer."""

    def __init__(self):
        self.shapes = []

    def __call__(self, function, inputs):
        self.shapes.append(inputs[1].shape)
        outputs = map_kernels(Tensor.clone, function(*inputs))
        return lambda: map_kernels(Tensor.copy_, outputs, function(*inputs)), outputs


def images(seed, size, batch=1, device="cpu"):
    return torch.from_numpy(fill.image_batch(seed, batch, size)).to(device)


def frames(method, kernels, device="cpu"):
    """Two targets in turn, at changing sizes, some of them together: a list of outputs."""
    both = map_kernels(lambda tensor: tensor.repeat_interleave(2, 0)[:2], kernels)
    found = [
        method(select(kernels, number), images(seed, size, device=device))
        for seed, size in enumerate((*SIZES, *SIZES), 10)
        for number in (0, 1)
    ]
    return [*found, method(both, images(5, 255, 2, device))]


def check_same(ours, expected):
    for mine, theirs in zip(ours, expected, strict=True):
        map_kernels(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), mine, theirs)


@pytest.mark.parametrize("name", ["alexnet", "mobilenetv2", "resnet18"])
@torch.inference_mode()
def test_replays_give_what_the_network_gives(name):
    model = filled(name)
    recorded, record = prepare_for_tracking(model), Recorder()
    _replay(recorded, record)
    plain = prepare_for_tracking(model)
    method = "predict_with_mask" if model.has_masks else "predict"
    kernels = plain.encode_template(images(1, 127, 2))
    check_same(*(frames(getattr(m, method), kernels) for m in (recorded, plain)))
    # each set of shapes once, whichever target it was for
    assert record.shapes == [(1, 3, 255, 255), (1, 3, 287, 287), (2, 3, 255, 255)]


def test_a_head_without_boxes_and_outside_of_inference_mode():
    model = build_model(tiny(**{"RPN.TYPE": "FC", "RPN.KWARGS": {}}))
    network, record = prepare_for_tracking(model), Recorder()
    _replay(network, record)
    kernels = network.encode_template(images(1, 127))
    with torch.inference_mode():  # first in it, then outside
        network.predict(kernels, images(2, 255))
    cls, loc = network.predict(kernels, images(3, 255))
    assert loc is None
    assert torch.equal(cls, prepare_for_tracking(model).predict(kernels, images(3, 255))[0])
    assert len(record.shapes) == 1


def test_what_cannot_be_recorded_runs_as_it_is_with_one_warning():
    def fail(function, inputs):
        calls.append(inputs)
        raise RuntimeError("operation not permitted when stream is capturing")

    calls = []
    double = Replayed(lambda k, x: k * x, fail)
    with pytest.warns(UserWarning, match=r"TRACK\.CUDA_GRAPHS.*not permitted"):
        assert double(torch.tensor(2), torch.tensor(3)) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert double(torch.tensor([2]), torch.tensor([4])) == 8
    assert len(calls) == 1


def test_there_are_not_more_graphs_than_allowed(monkeypatch):
    monkeypatch.setattr(replay, "MOST_GRAPHS", 2)
    record = Recorder()
    double = Replayed(lambda k, x: k * x, record)
    for size in (1, 2, 3, 4, 1):
        assert torch.equal(double(torch.tensor(2), torch.ones(size)), 2 * torch.ones(size))
    assert record.shapes == [(1,), (2,)]


def test_none_are_made_where_there_is_no_such_device():
    assert not isinstance(prepare_for_tracking(filled("alexnet")).predict, Replayed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["alexnet", "mobilenetv2", "resnet18", "resnet50"])
@torch.inference_mode()
def test_graphs_on_a_device_give_what_the_network_gives(name, precision):
    model = filled(name).cuda()
    graphs = prepare_for_tracking(model, precision)
    plain = prepare_for_tracking(model, precision, cuda_graphs=False)
    method = "predict_with_mask" if model.has_masks else "predict"
    kernels = plain.encode_template(images(1, 127, 2, "cuda"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a capture that fails is not hidden
        ours = frames(getattr(graphs, method), kernels, "cuda")
    for mine, theirs in zip(ours, frames(getattr(plain, method), kernels, "cuda"), strict=True):
        for a, b in zip(mine[:2], theirs[:2], strict=True):
            assert (a - b).abs().max() <= (1e-5 if precision == "fp32" else 1e-2) * b.abs().max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_compiled_networks_are_not_recorded():
    assert not isinstance(prepare_for_tracking(filled("alexnet").cuda(), compile=True).predict,
                          Replayed)  # fmt: skip
