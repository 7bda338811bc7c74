"""The small configurations of all five systems learn from the built-in data."""

import re
from pathlib import Path

import pytest
import torch

from demo.synthetic import make as make_synthetic
from pysot.cli import train
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.utils.model_load import load_weights, read_checkpoint

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SYSTEMS = (
    "siamfc_alex_tiny",
    "siamrpn_alex_tiny",
    "dasiamrpn_alex_tiny",
    "siamrpn_r18_tiny",
    "siammask_r18_tiny_base",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A small training set."""
    root = tmp_path_factory.mktemp("synthetic")
    sizes = ["--train-videos", "8", "--train-frames", "4", "--test-videos", "1"]
    roots = ["--train-root", f"{root}/train", "--test-root", f"{root}/Test"]
    make_synthetic.main([*sizes, "--test-frames", "2", "--workers", "1", *roots])
    return root / "train"


def learn(name, crops, folder, capsys, *opts):
    """Train for three short epochs; returns their mean losses and the last checkpoint."""
    settings = {
        "DATASET.SYNTHETIC.ROOT": crops / "crop511",
        "DATASET.SYNTHETIC.ANNO": crops / "train.json",
        "DATASET.VIDEOS_PER_EPOCH": 80,
        "TRAIN.EPOCH": 3,
        "TRAIN.NUM_WORKERS": 0,
        "TRAIN.SNAPSHOT_DIR": folder / "snapshot",
        "TRAIN.LOG_DIR": folder / "logs",
    }
    pairs = [str(part) for pair in settings.items() for part in pair]
    train.main(["--cfg", str(EXPERIMENTS / name / "config.yaml"), *pairs, *opts])
    totals = re.findall(r"^epoch \d/3: .*?total ([\d.]+)", capsys.readouterr().out, re.MULTILINE)
    assert len(totals) == 3
    return [float(total) for total in totals], folder / "snapshot" / "checkpoint_e3.pth"


@pytest.mark.parametrize("name", SYSTEMS)
def test_losses_fall(name, crops, tmp_path, capsys):
    totals, checkpoint = learn(name, crops, tmp_path, capsys)
    assert totals[-1] < 0.9 * totals[0]
    load_weights(build_model(load_config(EXPERIMENTS / name / "config.yaml")), checkpoint)


def test_the_second_stage_of_siammask_goes_on_from_the_first(crops, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    _, base = learn("siammask_r18_tiny_base", crops, first, capsys)
    given = ("TRAIN.PRETRAINED", str(base))
    totals, refined = learn("siammask_r18_tiny", crops, second, capsys, *given)
    assert totals[-1] < 0.9 * totals[0]
    before, after = (read_checkpoint(path)["state_dict"] for path in (base, refined))
    assert all(torch.equal(value, after[key]) for key, value in before.items())  # batch norm too
    assert {key.split(".")[0] for key in after.keys() - before.keys()} == {"refine_head"}
