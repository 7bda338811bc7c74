import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pysot import MultiTracker, Tracker, zoo
from pysot.cli import Parser, demo, find_tracker
from pysot.cli import eval as eval_command
from pysot.cli import models as command
from pysot.cli import test as test_command
from pysot.core.config import load_config
from pysot.models.model_builder import build_model

BOX = (20, 15, 24, 18)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Function that makes a table of one model ``tiny``, whose file is at ``published.pth``."""
    monkeypatch.setenv("PYSOT_HOME", str(tmp_path / "home"))

    def make(**row):
        row = {"name": "tiny", "system": "SiamRPN", "config": "siamrpn_alex_tiny"} | row
        row = {"urls": [(tmp_path / "published.pth").as_uri()], "license": "MIT"} | row
        path = tmp_path / "models.json"
        path.write_text(json.dumps([row]))
        monkeypatch.setattr(zoo, "_TABLE", path)
        zoo.models.cache_clear()
        return zoo.find_model("tiny")

    yield make
    zoo.models.cache_clear()


@pytest.fixture
def packaged(tmp_path, monkeypatch, tiny_config, tiny_snapshot, table):
    """The model ``tiny`` as a file of the package ``tiny_weights``, its configuration beside."""
    folder = tmp_path / "tiny_weights"
    folder.mkdir()
    shutil.copy(tiny_config, folder / "tiny.yaml")
    shutil.copy(tiny_snapshot, folder / "tiny.pth")
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield table(
        urls=["package://tiny_weights/tiny.pth"],
        config="package://tiny_weights/tiny.yaml",
        measured={"Tiny": {"success": 0.5}},
        sha256=hashlib.sha256(tiny_snapshot.read_bytes()).hexdigest(),
    )
    sys.modules.pop("tiny_weights", None)


def save_weights(path):
    torch.save({"weight": torch.zeros(2)}, path)
    return path


def test_every_model_of_the_table_has_a_configuration_and_a_way_to_get_it():
    for model in zoo.models().values():
        assert load_config(model.config_path).TRACK.TYPE
        assert model.license and (model.published or model.measured or model.packaged)
        assert model.sha256 or model.pages
        assert model.sha256 or not model.packaged


LARGE = [name for name, model in zoo.models().items() if model.parameters > 1e7]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in zoo.models()],
)
def test_the_table_counts_parameters(name):
    model = zoo.find_model(name)
    network = build_model(load_config(model.config_path))
    assert model.parameters == sum(value.numel() for value in network.parameters())


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ValueError, match="did you mean siamrpn_alex_dwxcorr"):
        zoo.find_model("siamrpn_alex_dwxcor")
    with pytest.raises(ValueError, match="pysot models lists them"):
        zoo.find_model("?")


def test_weights_are_fetched_once_and_checked_each_time(table, tmp_path):
    published = tmp_path / "published.pth"
    published.write_bytes(b"weights")
    model = table(sha256=hashlib.sha256(b"weights").hexdigest())
    path = zoo.weights_of(model)
    assert path == tmp_path / "home" / "models" / "tiny.pth"
    published.unlink()
    assert zoo.weights_of(model).read_bytes() == b"weights"
    path.write_bytes(b"others")
    with pytest.raises(ValueError, match=r"tiny\.pth: its SHA-256 is not that of tiny"):
        zoo.weights_of(model)


def test_the_hash_of_a_first_download_is_kept_where_none_was_published(table, tmp_path, caplog):
    save_weights(tmp_path / "published.pth")
    model = table()
    path = zoo.weights_of(model)
    assert "no hash was published" in caplog.text
    assert zoo.weights_of(model) == path
    assert caplog.text.count("no hash") == 1
    path.write_bytes(b"others")
    with pytest.raises(ValueError, match="is not that of tiny"):
        zoo.weights_of(model)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_first_download_that_is_cut_short_is_not_kept(table, tmp_path, legacy):
    path = tmp_path / "published.pth"
    torch.save({"weight": torch.zeros(999)}, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(OSError, match=r"it sent something else: .*damaged or no checkpoint"):
        zoo.weights_of(table())
    assert not list(tmp_path.glob("home/models/*.pth"))


def test_offline_one_message_says_which_file_belongs_where(table, tmp_path):
    model = table(pages=["https://example.org/tiny"])
    pattern = r"cannot download tiny\.pth: file:.* get the file from https://example.org/tiny and "
    with pytest.raises(OSError, match=rf"{pattern}put it at .*home/models/tiny\.pth$"):
        zoo.weights_of(model)
    save_weights(model.path)  # as the message says
    assert zoo.weights_of(model) == model.path


def test_a_file_that_a_person_put_there_is_read_before_its_hash_is_kept(table):
    model = table()
    model.path.parent.mkdir(parents=True)
    model.path.write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(ValueError, match=r"tiny\.pth: refused, because it is no plain checkpoint"):
        zoo.weights_of(model)
    save_weights(model.path)
    assert zoo.weights_of(model) == model.path
    model.path.write_bytes(b"a new version")
    with pytest.raises(ValueError, match=r"delete it .*, with tiny\.sha256 if a new one was pub"):
        zoo.weights_of(model)


def test_a_home_of_nobody_is_a_folder(monkeypatch):
    monkeypatch.setenv("PYSOT_HOME", "~/x")
    assert zoo.home() == Path.home() / "x"
    monkeypatch.setenv("PYSOT_HOME", "~nobody-of-this-name/x")
    assert zoo.home() == Path("~nobody-of-this-name/x")


def test_a_cache_that_others_fill_is_read(table, tmp_path, caplog, monkeypatch):
    model = table()
    model.path.parent.mkdir(parents=True)
    save_weights(model.path)
    model.path.with_suffix(".sha256").mkdir()  # where the hash cannot be written
    assert zoo.weights_of(model) == model.path
    assert "cannot write" in caplog.text


def test_weights_in_a_package_need_no_download(packaged, tmp_path, draw_frame):
    assert zoo.weights_of(packaged) == tmp_path / "tiny_weights" / "tiny.pth"
    tracker = Tracker.from_pretrained("tiny", "cpu", ["TRACK.LR", 0.3])
    assert tracker.tracker.params.lr == 0.3
    direct = Tracker.from_config(packaged.config_path, packaged.path, "cpu", ["TRACK.LR", 0.3])
    many = MultiTracker.from_pretrained("tiny", "cpu", ["TRACK.LR", 0.3])
    frames = [draw_frame(BOX), draw_frame((24, 15, 24, 18))]
    tracker.init(frames[0], BOX)
    direct.init(frames[0], BOX)
    many.add(frames[0], BOX)
    box = tracker.track(frames[1]).bbox
    assert box == direct.track(frames[1]).bbox
    np.testing.assert_allclose(many.track(frames[1])[0].bbox, box, atol=1e-3)
    packaged.path.unlink()
    with pytest.raises(FileNotFoundError, match="the weights of tiny, is missing"):
        Tracker.from_pretrained("tiny")


def test_without_a_name_the_default_is_used(packaged, draw_frame, tmp_path, monkeypatch):
    model = replace(packaged, name=zoo.DEFAULT)
    monkeypatch.setattr(zoo, "find_model", {zoo.DEFAULT: model}.__getitem__)
    for kind in (Tracker, MultiTracker):
        assert kind.from_pretrained(device="cpu")
    cv2.imwrite(str(tmp_path / "0.png"), draw_frame(BOX))
    cv2.imwrite(str(tmp_path / "1.png"), draw_frame(BOX))
    given = ["--video", str(tmp_path / "%d.png"), "--output", str(tmp_path / "a.avi")]
    boxes = tmp_path / "boxes.json"
    demo.main([*given, "--init-rect", "20,15,24,18", "--json", str(boxes), "DEVICE", "cpu"])
    assert len(json.loads(boxes.read_text())["frames"]) == 2
    packaged.path.unlink()
    with pytest.raises(FileNotFoundError, match=f"the weights of {zoo.DEFAULT}, is missing"):
        demo.main([*given, "--init-rect", "20,15,24,18"])


def test_a_file_of_a_package_may_not_change(packaged):
    packaged.path.write_bytes(b"others")
    with pytest.raises(ValueError, match="SHA-256 is not that of tiny"):
        zoo.weights_of(packaged)


def test_the_command_lists_and_downloads(table, tmp_path, capsys):
    save_weights(tmp_path / "published.pth")
    table(published={"OTB100": {"success": 0.5, "precision": 0.7}, "GPU": {"fps": 30}})
    command.main([])
    header, row = capsys.readouterr().out.splitlines()
    assert header.endswith("published             measured here")
    assert row.endswith("MIT      OTB100 success 0.500  -")
    command.main(["tiny", "--download"])
    assert capsys.readouterr().out.strip().endswith("home/models/tiny.pth")
    command.main(["tiny"])
    text = capsys.readouterr().out
    assert "published, OTB100: success 0.500, precision 0.700" in text
    assert "published, GPU: fps 30" in text
    with pytest.raises(SystemExit):
        command.main(["--download"])


def named(*words):
    parser = Parser("")
    parser.add_tracker()
    return parser.parse_args(words)


def test_a_name_stands_for_configuration_and_weights(packaged, tmp_path):
    weights = packaged.path
    assert find_tracker(named("--model", "tiny")) == (packaged.config_path, weights)
    assert find_tracker(named("--model", "tiny", "--config", "c.yaml")) == (Path("c.yaml"), weights)
    assert find_tracker(named("--config", "c.yaml", "--snapshot", "a.pth"))[0] == Path("c.yaml")
    known = find_tracker(named("--config", "siamfc_alex", "--snapshot", "a.pth"))[0]
    assert known.is_file() and known.parent.name == "siamfc_alex"
    assert find_tracker(named("--snapshot", "a.pth"), "default.yaml")[0] == Path("default.yaml")
    assert find_tracker(named("--snapshot", "a.safetensors"))[0] == Path("a.safetensors")
    assert find_tracker(named("--snapshot", str(tmp_path)), "default.yaml") == (None, tmp_path)
    for words in ([], ["--config", "c.yaml"], ["--snapshot", "a.pth"]):
        with pytest.raises(ValueError, match="needs --config and --snapshot, or --model"):
            find_tracker(named(*words))
    assert find_tracker(named(), model="tiny") == (packaged.config_path, weights)
    given = named("--config", "c.yaml", "--snapshot", "a.pth")
    assert find_tracker(given, model="tiny")[1] == Path("a.pth")
    for words in (["--config", "c.yaml"], ["--snapshot", "a.pth"]):
        with pytest.raises(ValueError, match="needs --config and --snapshot, or --model"):
            find_tracker(named(*words), model="tiny")
    with pytest.raises(ValueError, match="leave out --snapshot"):
        find_tracker(named("--model", "tiny", "--snapshot", "a.pth"))
    with pytest.raises(ValueError, match="no model is called 'tinny'; did you mean tiny"):
        find_tracker(named("--model", "tinny"))


def test_results_of_a_model_have_its_name(packaged, otb_set, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["--dataset", "Tiny", "--dataset-root", str(otb_set)]
    test_command.main([*data, "--model", "tiny"])
    folder = tmp_path / "results" / "Tiny"
    assert [path.name for path in folder.iterdir()] == ["tiny"]
    shutil.copytree(folder / "tiny", folder / "tiny_otb")
    capsys.readouterr()
    eval_command.main(["-p", "results", *data, "--model", "tiny"])
    text = capsys.readouterr().out
    assert "tiny_otb" not in text
    assert text.endswith("measured here, Tiny: success 0.500\n")
    shutil.rmtree(folder / "tiny")
    with pytest.raises(FileNotFoundError, match="no results of tiny; did you mean tiny_otb"):
        eval_command.main(["-p", "results", *data, "--model", "tiny"])
    with pytest.raises(ValueError, match="no model is called 'tiny_otb'"):
        eval_command.main(["-p", "results", *data, "--model", "tiny_otb"])
