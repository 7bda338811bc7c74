"""The example of an anchor-free head, used as a user would: by its path in a configuration."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from box_files import read_boxes
from training_crops import tiny_config, write_training_set

from pysot.cli import test as test_tool
from pysot.cli import train as train_tool
from pysot.cli import visualize
from pysot.core.config import load_config
from pysot.engine.build import response_grid
from pysot.models.model_builder import build_model
from pysot.tracker.tracker_builder import track_params
from pysot.utils.anchor import Grid

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "siamban"


@pytest.fixture
def example(plugin):
    """The module, imported by its configuration; the fixture ``plugin`` undoes that."""
    cfg = load_config(EXAMPLE / "config.yaml")
    yield sys.modules["siamban"], cfg
    del sys.modules["siamban"]


def own_config(folder):
    """Write a small training set and a configuration that names the plug-in by its path."""
    write_training_set(folder)
    path = tiny_config(folder, LOG_IMAGES=0, EPOCH=1)
    content = json.loads(path.read_text())
    content["DATASET"]["VIDEOS_PER_EPOCH"] = 4
    content |= {
        "PLUGINS": [str(EXAMPLE / "siamban.py")],
        "RPN": {"TYPE": "BANHead", "KWARGS": {"in_channels": 12, "out_channels": 8}},
        "TRACK": {"TYPE": "SiamBANTracker", "VOTES": 3, "BASE_SIZE": 0},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_it_trains_resumes_and_tracks(example, otb_set, tmp_path, capsys, workers):
    config = str(own_config(tmp_path))
    train_tool.main(["--cfg", config])
    train_tool.main(["--cfg", config, "--resume", "auto", "TRAIN.EPOCH", "2"])
    assert "checkpoint_e1.pth, 1 epochs trained" in capsys.readouterr().out
    lines = [json.loads(x) for x in (tmp_path / "logs" / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["event"] == "epoch"][-1]
    assert last["epoch"] == 2
    assert last["total_loss"] == pytest.approx(last["cls_loss"] + last["iou_loss"])

    snapshot = str(tmp_path / "snapshot" / "checkpoint_e2.pth")
    common = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--config", config]
    to = ["--results", str(tmp_path / "results"), "--name", "ban", "--workers", workers]
    test_tool.main([*common, "--snapshot", snapshot, *to])
    files = sorted((tmp_path / "results" / "Tiny" / "ban").glob("*.txt"))
    assert [len(read_boxes(file)) for file in files] == [6, 6, 6]


def test_its_pairs_can_be_drawn(example, tmp_path, capsys):
    sheet = tmp_path / "pairs.png"
    visualize.main(["--cfg", str(own_config(tmp_path)), "--output", str(sheet), "--pairs", "2"])
    assert sheet.is_file()
    assert "2 pairs of epoch 1" in capsys.readouterr().out


def test_its_configuration_describes_its_network(example):
    _, cfg = example
    grid = response_grid(cfg, build_model(cfg))
    assert grid == Grid(cfg.TRAIN.OUTPUT_SIZE, cfg.ANCHOR.STRIDE, cfg.TRAIN.SEARCH_SIZE)
    assert track_params(cfg).votes == cfg.TRACK.VOTES
    with pytest.raises(ValueError, match=r"TRACK\.VOTES is 0; expected a whole number from 1"):
        load_config(EXAMPLE / "config.yaml", ["TRACK.VOTES", "0"])


def test_labels_follow_two_ellipses(example):
    # cells of a 5 x 5 response around pixel 32: 16, 24, 32, 40, 48; the target is 40 x 20 there
    target = example[0].EllipseTarget(Grid(5, 8, 65), pos_num=99, total_num=199, neg_num=2)
    found = target.labels([12, 22, 52, 42], np.random.default_rng(0))
    expected = [[0, 0, 0, 0, 0], [0, -1, -1, -1, 0], [-1, 1, 1, 1, -1], [0, -1, -1, -1, 0]]
    assert found["label_cls"][0].tolist() == [*expected, [0, 0, 0, 0, 0]]
    # row 24, column 16: 4 pixels right of the left side, 2 below the upper one
    assert found["label_loc"][:, 1, 0].tolist() == [0.5, 0.25, 4.5, 2.25]
    other = target.labels([12, 22, 52, 42], np.random.default_rng(0), neg=True)["label_cls"]
    assert ((other == 0).sum(), (other == 1).sum()) == (2, 0)
    few = example[0].EllipseTarget(Grid(5, 8, 65), pos_num=2, total_num=5, neg_num=2)
    drawn = few.labels([12, 22, 52, 42], np.random.default_rng(0))["label_cls"]
    assert ((drawn == 1).sum(), (drawn == 0).sum()) == (2, 3)


def test_boxes_are_what_labels_describe(example):
    module, cfg = example
    labels = module.EllipseTarget(Grid(5, 8, 65), 9, 99, 9).labels(
        [12, 22, 52, 46], np.random.default_rng(0)
    )
    tracker = module.SiamBANTracker(None, track_params(cfg))
    boxes = tracker.boxes(labels["label_loc"].reshape(4, -1), side=5)
    np.testing.assert_allclose(boxes, np.tile([0, 2, 40, 24], (25, 1)))  # the crop's center is 32


def test_losses(example):
    module, _ = example
    cls = torch.zeros(2, 2, 1, 2)
    label = torch.tensor([[[[1, 0]]], [[[1, 0]]]])
    truth = torch.tensor([2.0, 2, 2, 2]).reshape(1, 4, 1, 1).expand(2, 4, 1, 2)
    batch = {"label_cls": label, "label_loc": truth}
    losses = module.ellipse_losses(cls, truth, batch)
    assert losses["iou_loss"].item() == 0
    assert losses["cls_loss"].item() == pytest.approx(np.log(2))
    half = module.ellipse_losses(cls, truth * torch.tensor([1, 0.5]).view(2, 1, 1, 1), batch)
    assert half["iou_loss"].item() == pytest.approx((0 + 0.75) / 2)  # 2 x 2 of 4 x 4
    # two micro-batches of a step have the loss of both together
    found = truth * torch.tensor([0.3, 0.5]).view(2, 1, 1, 1)
    whole = module.ellipse_losses(cls, found, batch)
    parts = []
    for n in (0, 1):
        part = {key: value[n : n + 1] for key, value in batch.items()}
        parts.append(
            module.ellipse_losses(cls[:1], found[n : n + 1], part, torch.tensor([1.0, 1.0]))
        )
    for name, value in whole.items():
        assert sum(part[name] for part in parts) / 2 == pytest.approx(value.item())


def test_without_positives_the_box_loss_is_zero_and_has_a_gradient(example):
    loc = torch.ones(1, 4, 1, 1, requires_grad=True)
    batch = {"label_cls": torch.zeros(1, 1, 1, 1, dtype=torch.int64), "label_loc": -loc.detach()}
    loss = example[0].ellipse_losses(torch.zeros(1, 2, 1, 1), loc, batch)["iou_loss"]
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(loc.grad).all()
