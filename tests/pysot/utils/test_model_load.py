import pickle

import numpy as np
import pytest
import torch
from torch import nn

from pysot.utils.model_load import load_pretrain, load_weights, read_checkpoint


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def saved(tmp_path, contents, name="weights.pth"):
    torch.save(contents, tmp_path / name)
    return tmp_path / name


def same(model, weights):
    return all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("wrap", ["plain", "checkpoint", "module."])
def test_published_layouts_load(tmp_path, wrap):
    weights = small().state_dict()
    contents = {
        "plain": weights,
        "checkpoint": {"epoch": 3, "state_dict": weights, "optimizer": {}},
        "module.": {f"module.{key}": value for key, value in weights.items()},
    }[wrap]
    model = load_weights(small(), saved(tmp_path, contents))
    assert same(model, weights)


def test_pysots_name_for_loading_still_works(tmp_path):
    weights = small().state_dict()
    assert same(load_pretrain(small(), str(saved(tmp_path, weights))), weights)


def test_backbone_files_without_their_prefix_load(tmp_path):
    model = nn.Module()
    model.features = small()
    weights = small().state_dict()
    load_weights(model, saved(tmp_path, weights))
    assert same(model.features, weights)


def test_a_named_part_may_be_missing_as_a_whole(tmp_path, caplog):
    caplog.set_level("INFO")
    weights = {f"body.{key}": value for key, value in small().state_dict().items()}
    model = nn.ModuleDict({"body": small(), "extra": small()})
    before = model["extra"][0].weight.clone()
    load_weights(model, saved(tmp_path, weights), may_lack=("extra",))
    assert torch.equal(model["extra"][0].weight, before)
    assert same(model["body"], {key[5:]: value for key, value in weights.items()})
    assert "has no extra" in caplog.text
    with pytest.raises(ValueError, match="6 missing: extra"):
        load_weights(model, saved(tmp_path, weights))
    weights["extra.0.bias"] = torch.zeros(2)  # a part of the part is no whole
    with pytest.raises(ValueError, match="missing: extra"):
        load_weights(model, saved(tmp_path, weights), may_lack=("extra",))


def test_counters_may_be_missing(tmp_path):
    weights = {k: v for k, v in small().state_dict().items() if "num_batches" not in k}
    load_weights(small(), saved(tmp_path, weights))


def test_everything_that_does_not_fit_is_in_one_message_and_nothing_is_loaded(tmp_path):
    weights = small().state_dict()
    weights["0.weight"] = torch.zeros(2, 1, 5, 5)
    weights["head.bias"] = weights.pop("0.bias")
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError) as error:
        load_weights(model, saved(tmp_path, weights))
    message = str(error.value)
    assert "weights.pth does not fit this model" in message
    assert "1 missing: 0.bias" in message
    assert "1 unexpected: head.bias" in message
    assert "0.weight (2, 1, 5, 5) instead of (2, 1, 3, 3)" in message
    assert same(model, before)


def test_learning_rates_that_numpy_1_or_2_wrote_are_accepted(tmp_path):
    contents = {"state_dict": small().state_dict(), "optimizer": {"lr": np.float64(0.005)}}
    path = saved(tmp_path, contents)
    assert read_checkpoint(path)["optimizer"]["lr"] == 0.005
    legacy = tmp_path / "legacy.pth"
    torch.save(contents, legacy, _use_new_zipfile_serialization=False)
    old = legacy.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    legacy.write_bytes(old)
    assert read_checkpoint(legacy)["optimizer"]["lr"] == 0.005


class Bomb:
    def __reduce__(self):
        return eval, ("open('exploded', 'w')",)


def test_code_in_a_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"state_dict": Bomb()})
    with pytest.raises(ValueError, match=r"weights\.pth: refused"):
        load_weights(small(), path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"plain\.pth"):
        load_weights(small(), tmp_path / "plain.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_cut_at_any_place_is_a_damaged_file(tmp_path, share):
    path = saved(tmp_path, nn.Conv2d(16, 32, 3).state_dict())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"weights\.pth is damaged"):
        load_weights(small(), path)


@pytest.mark.parametrize("kind", ["truncated", "text", "pops", "empty", "no weights", "list"])
def test_files_that_are_no_checkpoint_are_named(tmp_path, kind):
    path = saved(tmp_path, small().state_dict())
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "no weights":
        torch.save({"epoch": 3}, path)
    elif kind == "pops":
        path.write_text("export A=1\n")  # its first letter takes from an empty stack of pickle
    elif kind == "list":
        torch.save([1, 2], path)
    else:
        path.write_text("" if kind == "empty" else "<html>not found</html>")
    with pytest.raises(ValueError, match=r"weights\.pth"):
        load_weights(small(), path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        load_weights(small(), tmp_path / "gone.pth")
