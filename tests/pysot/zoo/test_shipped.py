"""The weights that come with the package: their files, their rows, and that they track."""

import numpy as np
import pytest

from demo.synthetic.scenes import Effects, build_stage
from pysot import Tracker, zoo
from pysot.cli import models as command
from pysot.cli.convert import _settings
from pysot.core import EXPERIMENTS
from pysot.core.card import read_card
from pysot.core.config import load_config
from toolkit.utils.statistics import overlap_ratio

LARGEST = 8e6  # bytes
SHIPPED = sorted(name for name, model in zoo.models().items() if model.packaged)
NOTES = {"use", "data", "backbone", "command", "seed"}
each = pytest.mark.parametrize("name", SHIPPED)


@each
def test_a_shipped_file_is_small_and_the_one_of_its_row(name, capsys):
    model = zoo.find_model(name)
    path = zoo.weights_of(model)
    assert path.stat().st_size == model.size <= LARGEST
    row = command._row_of(path)
    if row["name"] == name:  # two models may share a file
        assert {key: getattr(model, key) for key in row.keys() - {"urls"}} == {
            key: value for key, value in row.items() if key != "urls"
        }
    command.main([name])
    assert capsys.readouterr().out.splitlines()[0] == read_card(path)["use"]


@each
def test_the_card_of_a_shipped_file_says_what_it_is(name):
    card = read_card(zoo.find_model(name).path)
    assert card.keys() >= NOTES
    assert "Apache-2.0" in card["backbone"]
    settings = _settings(load_config(EXPERIMENTS / card["name"] / "config.yaml"))
    assert card["config"] == settings


@each
def test_shipped_weights_follow_a_drawn_target(name):
    stage = build_stage(np.random.default_rng(3), Effects(), (320, 240), 12)
    shots = [stage.shoot(number) for number in range(12)]
    tracker = Tracker.from_pretrained(name, "cpu")
    tracker.init(shots[0].image, shots[0].boxes[0])
    found = np.array([tracker.track(shot.image).bbox for shot in shots[1:]])
    overlaps = overlap_ratio(found, np.array([shot.boxes[0] for shot in shots[1:]]))
    assert overlaps.min() > 0.3


@pytest.mark.skipif(not SHIPPED, reason="no weights are in pysot/zoo/weights yet")
def test_the_default_comes_with_the_package():
    assert zoo.DEFAULT in SHIPPED


def test_a_changed_file_of_the_package_is_not_to_be_downloaded(monkeypatch):
    monkeypatch.setattr(zoo, "sha256_of", lambda path: "0" * 64)
    with pytest.raises(ValueError, match=r"SHA-256 is not that of .*: install that again$"):
        zoo.weights_of(zoo.find_model(zoo.DEFAULT))
