import pytest
import torch

from pysot.utils.model_load import choose_device


def machine(monkeypatch, cuda=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("name", "allowed", "cuda", "mps", "expected"),
    [
        ("auto", True, 0, False, "cpu"),
        ("auto", True, 1, True, "cuda"),
        ("auto", False, 1, False, "cpu"),  # CUDA: false
        ("auto", False, 1, True, "mps"),
        ("auto", True, 0, True, "mps"),
        ("cpu", True, 1, False, "cpu"),
        ("cuda:1", False, 2, False, "cuda:1"),  # a name means what it says
        ("mps", True, 0, True, "mps"),
    ],
)
def test_choice(monkeypatch, name, allowed, cuda, mps, expected):
    machine(monkeypatch, cuda, mps)
    assert choose_device(name, allowed) == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "'cuda' is not available here; available: auto, cpu"),
        ("mps", "'mps' is not available"),
        ("gpu", "unknown device 'gpu'; known: auto, cpu"),
        ("meta", "'meta' is not available"),
    ],
)
def test_what_is_not_there_is_named(monkeypatch, name, message):
    machine(monkeypatch)
    with pytest.raises(ValueError, match=message):
        choose_device(name)


def test_a_cuda_device_beyond_the_last(monkeypatch):
    machine(monkeypatch, cuda=1)
    with pytest.raises(ValueError, match="'cuda:1' is not available here; available: auto, cpu, c"):
        choose_device("cuda:1")
