import hashlib
import json

import pytest
import torch

from pysot import zoo
from pysot.cli import models as command
from pysot.core.config import load_config
from pysot.models.model_builder import build_model


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


def test_every_model_of_the_table_has_a_configuration_that_builds():
    for model in zoo.models().values():
        build_model(load_config(model.config_path))


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
    (tmp_path / "published.pth").write_bytes(b"weights")
    model = table()
    path = zoo.weights_of(model)
    assert "no hash was published" in caplog.text
    path.write_bytes(b"others")
    with pytest.raises(ValueError, match="is not that of tiny"):
        zoo.weights_of(model)


def test_offline_one_message_says_where_the_file_belongs(table, tmp_path):
    with pytest.raises(OSError, match=r"cannot download tiny\.pth.*put it at .*home/models/tiny"):
        zoo.weights_of(table())


def test_the_command_lists_and_downloads(table, tmp_path, capsys):
    torch.save({}, tmp_path / "published.pth")
    table(published={"OTB100": {"success": 0.5}}, size=(tmp_path / "published.pth").stat().st_size)
    command.main([])
    assert "tiny" in capsys.readouterr().out
    command.main(["tiny", "--download"])
    assert capsys.readouterr().out.strip().endswith("home/models/tiny.pth")
    command.main(["tiny"])
    assert "published, OTB100: success 0.500" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["--download"])
