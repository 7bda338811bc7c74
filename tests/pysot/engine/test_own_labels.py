"""Training of a head with labels and losses of its own names."""

import json

import numpy as np
import pytest
import torch
from training_crops import boxless_config, write_training_set

from pysot.cli import train, visualize
from pysot.core.registry import LABELS, LOSSES


@pytest.fixture
def own(plugin, tmp_path):
    """Configuration of a head that learns a heat map; the fixture ``plugin`` undoes the tables."""

    @LABELS.register("heat")
    def labels(cfg, grid):
        def label(target, rng, neg):
            x, y = (target[0] + target[2]) / 2 - grid.line, (target[1] + target[3]) / 2 - grid.line
            heat = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / 800) * (not neg)
            return {"label_heat": heat.astype(np.float32)}

        return label

    @LOSSES.register("heat")
    def loss(cls, loc, data, counts=None):
        assert counts is None
        error = (cls[:, 0].sigmoid() - data["label_heat"]).square()
        return {"heat_loss": error.mean(), "peak_loss": error.amax(dim=(1, 2)).mean()}

    @LOSSES.register("bare")
    def bare(cls, loc, data, counts=None):
        return {"heat": cls.mean()}

    @LOSSES.register("wide")
    def wide(cls, loc, data, counts=None):
        return {"heat_loss": cls.mean(dim=(1, 2, 3))}

    write_training_set(tmp_path)
    path = boxless_config(tmp_path, LOG_IMAGES=1, EPOCH=1, ACCUMULATE=2)
    content = json.loads(path.read_text())
    content["RPN"] |= {"LABELS": "heat", "LOSS": "heat"}
    content["TRAIN"]["LOSS_WEIGHTS"] = {"peak_loss": 0.25}
    path.write_text(json.dumps(content))
    return str(path)


def test_they_are_learned_weighed_logged_and_drawn(own, tmp_path):
    train.main(["--cfg", own])
    lines = [json.loads(x) for x in (tmp_path / "logs" / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["event"] == "epoch"][-1]
    total = last["heat_loss"] + 0.25 * last["peak_loss"]
    assert last["total_loss"] == pytest.approx(total, rel=1e-5)
    assert "peak_loss: 0." in (tmp_path / "logs" / "logs.txt").read_text()
    assert torch.load(tmp_path / "snapshot" / "checkpoint_e1.pth", weights_only=False)["epoch"] == 1


def test_pairs_without_labeled_cells_are_drawn(own, tmp_path, capsys):
    sheet = tmp_path / "pairs.png"
    visualize.main(["--cfg", own, "--output", str(sheet), "--pairs", "2"])
    assert "0 without a target" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("opts", "text"),
    [
        (["RPN.LOSS", "centers"], r"RPN.LABELS 'heat' \(label_heat\): KeyError: 'label_cls'"),
        (["RPN.LOSS", "bare"], r"RPN.LOSS returns no loss named \.\.\._loss; found: heat"),
        (["RPN.LOSS", "wide"], r"RPN.LOSS: heat_loss is no scalar, its shape is \[1\]"),
        (["TRAIN.LOSS_WEIGHTS", "{peak: 1}"], "no loss 'peak'; known: heat_loss, peak_loss"),
        (["TRAIN.LOSS_WEIGHTS", "{heat_loss: 0, peak_loss: 0}"], "nothing learns in epoch 1"),
        (["RPN.LABELS", "cold"], "RPN.LABELS: unknown label maker 'cold'; known: .*heat"),
    ],
)
def test_what_does_not_fit_is_one_line(own, opts, text):
    with pytest.raises(ValueError, match=text) as error:
        train.main(["--cfg", own, *opts])
    assert "\n" not in str(error.value)
