"""Both stages of SiamMask through tools/train.py, on four drawn videos and a network of no size."""

import pytest
import torch
from training_crops import mask_configs, write_training_set

from pysot.cli.train import main
from pysot.utils.model_load import read_checkpoint


@pytest.fixture
def folder(tmp_path):
    """A training set with masks, and the configurations ``base.yaml`` and ``refine.yaml``."""
    write_training_set(tmp_path)
    mask_configs(tmp_path)
    return tmp_path


def run(folder, stage, *options):
    main(["--cfg", str(folder / f"{stage}.yaml"), *options])
    return folder / "snapshot" / "checkpoint_e1.pth"


def test_the_second_stage_goes_on_from_the_first(folder, capsys):
    run(folder, "base").rename(folder / "first.pth")
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("epoch 1/1: cls "))
    assert "mask " in line
    second = read_checkpoint(run(folder, "refine"))["state_dict"]
    log = (folder / "logs" / "logs.txt").read_text()
    assert "at random, if not loaded before: refine_head (32 of 32 entries)" in log
    assert "mask_iou_50: " in log
    first = read_checkpoint(folder / "first.pth")["state_dict"]
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert {key.split(".")[0] for key in second.keys() - first.keys()} == {"refine_head"}


def test_another_part_may_not_be_missing_where_all_must_fit(folder):
    torch.save({"backbone.conv1.weight": torch.zeros(4, 3, 7, 7)}, folder / "first.pth")
    with pytest.raises(ValueError, match="missing: backbone"):
        run(folder, "refine", "TRAIN.PRETRAINED_STRICT", "true")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["MASK.KWARGS.out_channels", "4000"], "parts of the network do not suit each other.*63"),
        (
            ["TRAIN.FROZEN", "[neck, rpn_head]", "TRAIN.MASK_WEIGHT", "0"],
            "nothing learns in epoch 1",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_before(folder, options, text):
    with pytest.raises(ValueError, match=text):
        run(folder, "base", "BACKBONE.TRAIN_LAYERS", "[]", *options)
    assert not list((folder / "snapshot").glob("*"))
