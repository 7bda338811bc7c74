"""Weights alone, in other formats, with a card."""

import json

import numpy as np
import pytest
import torch

from pysot import Tracker, zoo
from pysot.cli import convert as tool
from pysot.cli import demo, models
from pysot.cli import test as test_tool
from pysot.core.card import read_card
from pysot.core.config import load_config
from pysot.models.model_builder import build_model, load_pretrained
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.utils.model_load import read_checkpoint
from toolkit.io.files import sha256_of

BOX = (20, 15, 24, 18)


@pytest.fixture
def checkpoint(tiny_snapshot):
    """A checkpoint of training, as of several processes."""
    weights = torch.load(tiny_snapshot, weights_only=True)
    path = tiny_snapshot.with_name("checkpoint_e3.pth")
    state = {f"module.{key}": value for key, value in weights.items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"state": {}}}, path)
    return path


@pytest.fixture
def convert(tmp_path, tiny_config, checkpoint):
    """Function that converts the checkpoint to ``OUT``, and returns its path."""

    def convert(name, *more, source=checkpoint, config=tiny_config):
        path = tmp_path / "out" / name
        given = ["--config", str(config)] if config else []
        tool.main([str(source), str(path), *given, *more])
        return path

    return convert


def boxes(tracker, draw_frame):
    tracker.init(draw_frame(BOX), BOX)
    frames = [draw_frame((20 + 3 * i, 15, 24, 18), seed=i) for i in range(1, 4)]
    return [tracker.track(frame).bbox for frame in frames]


def test_a_stripped_file_gives_the_same_boxes(convert, checkpoint, tiny_config, draw_frame, capsys):
    expected = boxes(Tracker.from_config(tiny_config, checkpoint, "cpu"), draw_frame)
    path = convert("a.safetensors")
    assert "a.safetensors: 75 tensors" in capsys.readouterr().out
    assert boxes(Tracker.from_pretrained(path, "cpu"), draw_frame) == expected
    assert boxes(Tracker.from_config(tiny_config, path, "cpu"), draw_frame) == expected
    back = convert("b.pth", source=path, config=None)
    assert read_checkpoint(back).keys() == {"state_dict"}
    assert boxes(Tracker.from_config(tiny_config, back, "cpu"), draw_frame) == expected
    again = convert("a2.safetensors", "--name", "a", source=back)
    card, other = read_card(path), read_card(again)
    assert (card["sha256"], card["config"]) == (other["sha256"], other["config"])


def test_half_precision_takes_half_the_space(convert, checkpoint, tiny_config, draw_frame):
    full, half = convert("a.safetensors"), convert("h.safetensors", "--fp16")
    weights = read_checkpoint(half)
    assert {value.dtype for value in weights.values() if value.dim() > 1} == {torch.float16}
    assert {value.dtype for value in weights.values() if value.dim() == 1} == {torch.float32}
    data = [sum(v.nbytes for v in read_checkpoint(path).values()) for path in (full, half)]
    assert data[1] < 0.6 * data[0]
    assert read_card(half)["precision"] == "fp16"
    expected = boxes(Tracker.from_config(tiny_config, checkpoint, "cpu"), draw_frame)
    found = boxes(Tracker.from_pretrained(str(half), "cpu"), draw_frame)
    np.testing.assert_allclose(found, expected, atol=0.5)


@pytest.mark.parametrize("size", [1e6, 1e-6])
def test_weights_of_other_size_than_half_precision_has_stay(convert, checkpoint, size):
    content = read_checkpoint(checkpoint)
    key = next(key for key, value in content["state_dict"].items() if value.dim() > 1)
    content["state_dict"][key] *= size
    content["state_dict"][key][0, 0] = size
    torch.save(content, checkpoint)
    weights = read_checkpoint(convert("h.safetensors", "--fp16"))
    assert weights.pop(key.removeprefix("module.")).dtype == torch.float32
    assert torch.float16 in {value.dtype for value in weights.values()}


def test_the_card_says_what_the_weights_are(convert, checkpoint, tiny_config, tmp_path):
    scores = tmp_path / "scores.json"
    entry = {"metrics": {"success": 0.4}, "videos": {}}
    scores.write_text(json.dumps({"dataset": "OTB100", "trackers": {"a": entry, "b": {**entry}}}))
    card = read_card(convert("a.safetensors", "--scores", str(scores), "--license", "MIT"))
    assert card["source"] == {"file": "checkpoint_e3.pth", "sha256": sha256_of(checkpoint)}
    assert card["measured"] == {"OTB100": {"success": 0.4}}
    assert (card["name"], card["license"], card["precision"]) == ("a", "MIT", "fp32")
    assert card["config"]["BACKBONE"] == load_config(tiny_config).BACKBONE
    assert not card["config"].keys() & {"TRAIN", "DATASET", "DEVICE", "PLUGINS"}


def test_a_card_is_handed_on_but_scores_of_other_settings_are_not(convert, tmp_path, caplog):
    scores = tmp_path / "scores.json"
    scores.write_text(
        json.dumps({"dataset": "D", "trackers": {"x": {"metrics": {"success": 0.4}}}})
    )
    first = convert("a.safetensors", "--scores", str(scores), "--license", "MIT")
    half = read_card(convert("h.safetensors", "--fp16", source=first, config=None))
    for key in ("name", "license", "source", "measured", "config"):
        assert half[key] == read_card(first)[key]
    assert not caplog.text
    tuned = read_card(convert("t.safetensors", "TRACK.LR", "0.2", source=first, config=None))
    assert (tuned["config"]["TRACK"]["LR"], tuned["measured"]) == (0.2, {})
    assert "its configuration is another" in caplog.text


def test_notes_are_part_of_the_card_and_are_handed_on(convert, tmp_path, capsys):
    notes = tmp_path / "card.yaml"
    notes.write_text("use: For research.\ndata: [DAVIS (BSD), drawings]\nseed: 3\n")
    first = convert("a.safetensors", "--card", str(notes))
    half = convert("h.safetensors", "--fp16", source=first, config=None)
    notes.write_text("seed: 4\n")
    other = convert("b.safetensors", "--card", str(notes), source=half, config=None)
    expected = {"use": "For research.", "data": ["DAVIS (BSD)", "drawings"], "seed": 4}
    assert {key: read_card(other)[key] for key in expected} == expected
    capsys.readouterr()
    models.main([str(half)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "For research."
    assert {"data: DAVIS (BSD)", "data: drawings", "seed: 3"} <= set(lines)


def test_scores_of_several_sets_make_one_card(convert, tmp_path):
    given = []
    for name in ("D", "E"):
        entry = {"x": {"metrics": {"success": 0.4}}}
        (tmp_path / name).write_text(json.dumps({"dataset": name, "trackers": entry}))
        given += ["--scores", str(tmp_path / name)]
    assert read_card(convert("a.safetensors", *given))["measured"].keys() == {"D", "E"}


def test_the_row_of_a_file_makes_it_a_model(convert, tmp_path, monkeypatch, draw_frame, capsys):
    notes = tmp_path / "card.yaml"
    notes.write_text("use: For research.\nbackbone: AlexNet\n")
    path = convert("tiny.safetensors", "--fp16", "--card", str(notes), "--license", "MIT")
    capsys.readouterr()
    models.main([str(path), "--row"])
    row = json.loads(capsys.readouterr().out)
    assert row["urls"] == ["package://pysot.zoo/weights/tiny.safetensors"]
    model = zoo.Model(**{**row, "urls": ("package://own_weights/tiny.safetensors",)})
    assert (model.system, model.license, model.size) == ("SiamRPN", "MIT", path.stat().st_size)
    (path.parent / "own_weights").mkdir()
    path = path.rename(path.parent / "own_weights" / path.name)
    (path.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(path.parents[1])
    monkeypatch.setattr(zoo, "models", lambda: {"tiny": model})
    assert boxes(Tracker.from_pretrained("tiny", "cpu"), draw_frame)
    models.main(["tiny"])
    text = capsys.readouterr().out
    assert text.startswith("For research.\ntiny: SiamRPN, 0.0 M parameters, ")
    assert "backbone: AlexNet" in text
    again = convert("again.safetensors", source="tiny", config=None)
    assert read_card(again)["backbone"] == "AlexNet"


def test_published_weights_are_an_input(convert, tmp_path, monkeypatch, tiny_config, checkpoint):
    model = zoo.Model(
        name="tiny",
        system="SiamRPN",
        urls=(checkpoint.as_uri(),),
        license="CC0",
        config=str(tiny_config.parent),
        published={"OTB100": {"success": 0.5}},
    )
    monkeypatch.setenv("PYSOT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(zoo, "models", lambda: {"tiny": model})
    monkeypatch.setattr(tool, "models", zoo.models)
    card = read_card(convert("out.safetensors", source="tiny", config=None))
    assert (card["name"], card["license"], card["published"]) == ("tiny", "CC0", model.published)
    assert card["source"]["file"] == checkpoint.as_uri()


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("a.onnx", [], r"a\.onnx: expected a name in \.safetensors or \.pth"),
        ("a.pth", ["--license", "MIT"], r"a\.pth has no card for --name, --card, --scores or "),
        ("a.safetensors", ["--card", "gone.yaml"], "not found: gone.yaml"),
        ("a.safetensors", ["--card", "config"], "BACKBONE: expected a text, a number or a list"),
        ("a.safetensors", ["--card", "own"], "own: license, name of a card is written by this"),
        ("a.pth", ["IN", "gone.pth"], "weights not found: gone.pth"),
        ("a.pth", ["IN", "gone"], "no model is called 'gone'"),
        ("a.pth", ["CONFIG", None], "has no card with its configuration: give --config"),
        ("a.pth", ["CONFIG", "siamfc_alex_tiny"], "does not fit this model: .* missing"),
        ("a.safetensors", ["--scores", "config"], "has no scores as pysot eval --json"),
        ("a.safetensors", ["--scores", "two"], "no scores of 'a'; there is: b, c"),
    ],
)
def test_bad_input_writes_nothing(convert, name, more, words, tmp_path, tiny_config):
    given = {}
    if more[:1] in (["IN"], ["CONFIG"]):
        given[{"IN": "source", "CONFIG": "config"}[more[0]]] = more[1]
        more = []
    entry = {"metrics": {"success": 0.4}}
    (tmp_path / "two").write_text(
        json.dumps({"dataset": "D", "trackers": {"b": entry, "c": entry}})
    )
    (tmp_path / "own").write_text("{use: any, name: a, license: MIT}")
    files = {"config": str(tiny_config)} | {n: str(tmp_path / n) for n in ("two", "own")}
    with pytest.raises((ValueError, OSError), match=words):
        convert(name, *[files.get(word, word) for word in more], **given)
    assert not list((tmp_path / "out").glob("*"))


def test_the_input_is_not_overwritten(checkpoint, tiny_config):
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match="is the input; choose another name"):
        tool.main([str(checkpoint), str(checkpoint), "--config", str(tiny_config)])
    assert checkpoint.read_bytes() == before


def test_safetensors_serve_wherever_weights_do(
    convert, checkpoint, otb_set, tiny_config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = str(convert("a.safetensors"))
    data = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--video", "A"]
    test_tool.main([*data, "--snapshot", path])
    test_tool.main([*data, "--snapshot", str(checkpoint), "--config", str(tiny_config)])
    results = tmp_path / "results" / "Tiny"
    first, second = (results / name / "A.txt" for name in ("a", "checkpoint_e3"))
    assert first.read_bytes() == second.read_bytes()
    video = [
        "--video",
        str(otb_set / "A" / "img"),
        "--init-rect",
        "20,15,24,18",
        "--json",
        "t.json",
    ]
    demo.main(["--snapshot", path, *video, "--output", "t.mp4"])
    assert json.loads((tmp_path / "t.json").read_text())
    assert TrackerSpec.read(path, path)().params == TrackerSpec.read(tiny_config, path)().params
    for keys in (["TRAIN.PRETRAINED"], ["TRAIN.PRETRAINED_STRICT", False, "BACKBONE.PRETRAINED"]):
        cfg = load_config(tiny_config, [*keys, path])
        model = build_model(cfg)
        load_pretrained(model, cfg)
        weights = read_checkpoint(path)
        for key, value in model.backbone.state_dict().items():
            assert torch.equal(value, weights[f"backbone.{key}"])


def test_a_card_is_shown(convert, capsys):
    path = convert("a.safetensors", "--license", "MIT")
    models.main([str(path)])
    text = capsys.readouterr().out
    assert "a: SiamRPNTracker, fp32, MIT" in text
    assert f"weights: {path}" in text
