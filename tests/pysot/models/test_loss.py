import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from golden import fill
from pysot.models.loss import log_softmax_cls, select_cross_entropy_loss, weight_l1_loss

CASES = json.loads((Path(__file__).parents[2] / "golden" / "train" / "geometry.json").read_text())[
    "loss"
]


def inputs(case):
    """Tensors of a recorded case, made by its rule."""
    b, a, s, seed = case["b"], case["a"], case["s"], case["seed"]
    uniform = [fill.uniform(seed + i, b * n * a * s * s) for i, n in enumerate((2, 1, 4, 4, 1))]
    label = np.full(b * a * s * s, -1, dtype=np.int64)
    order = np.argsort(uniform[1], kind="stable")
    label[order[: case["npos"]]] = 1
    label[order[case["npos"] : case["npos"] + case["nneg"]]] = 0
    arrays = {
        "cls": (4 * uniform[0] - 2).reshape(b, 2 * a, s, s),
        "loc": (2 * uniform[2] - 1).reshape(b, 4 * a, s, s),
        "label_loc": (2 * uniform[3] - 1).reshape(b, 4, a, s, s),
        "weight": uniform[4].reshape(b, a, s, s),
    }
    tensors = {key: torch.from_numpy(value.astype(np.float32)) for key, value in arrays.items()}
    return tensors | {"label": torch.from_numpy(label.reshape(b, a, s, s))}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['npos']} positives" for case in CASES])
def test_losses_are_those_of_pysot(case):
    t = inputs(case)
    log_prob = log_softmax_cls(t["cls"])
    found = fill.digest(log_prob.numpy())
    assert found["shape"] == case["log_softmax"]["shape"]
    np.testing.assert_allclose(found["samples"], case["log_softmax"]["samples"], rtol=1e-5)
    loc_loss = weight_l1_loss(t["loc"], t["label_loc"], t["weight"])
    assert loc_loss.item() == pytest.approx(case["weight_l1_loss"], rel=1e-5)
    expected = case["select_cross_entropy_loss"]
    if case["npos"] == 1:  # PySOT drops the loss of a single positive; we keep it
        expected += -0.5 * log_prob[..., 1][t["label"] == 1].item()
    cls_loss = select_cross_entropy_loss(log_prob, t["label"])
    assert cls_loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([-1, -1, -1, -1], 0.0),  # nothing labelled
        ([1, -1, -1, -1], 0.5 * math.log(2)),  # a single positive keeps its loss
        ([-1, 0, -1, -1], 0.5 * math.log(2)),  # a single negative, too
        ([1, 0, 0, 0], math.log(2)),  # both sides have the same weight, whatever their number
    ],
)
def test_cross_entropy_of_undecided_logits(labels, expected):
    cls = torch.zeros(1, 2, 2, 2, requires_grad=True)
    label = torch.tensor(labels).view(1, 1, 2, 2)
    loss = select_cross_entropy_loss(log_softmax_cls(cls), label)
    assert loss.item() == pytest.approx(expected)
    loss.backward()  # also without labels
    assert torch.isfinite(cls.grad).all()


def test_background_channels_come_first():
    cls = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    assert log_softmax_cls(cls).argmax(dim=-1).item() == 0


def test_box_loss_by_hand():
    label = torch.zeros(2, 4, 1, 1, 1)
    predicted = torch.tensor([[1.0, -1, 2, 0], [3, 0, 0, 0]]).view(2, 4, 1, 1)
    weight = torch.tensor([0.5, 0.0]).view(2, 1, 1, 1)
    # first sample 0.5 * (1 + 1 + 2), second not weighted; mean over the batch of 2
    assert weight_l1_loss(predicted, label, weight).item() == pytest.approx(1.0)
