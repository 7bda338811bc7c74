import io
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from pysot.core.card import card_config, read_card
from pysot.core.config import load_config
from pysot.models.backbone.pretrained import load_backbone
from pysot.utils.model_load import (
    load_pretrain,
    load_weights,
    read_checkpoint,
    tensor_fault,
    write_weights,
)


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


class Part(nn.Module):
    """A network like a tracker's."""

    def __init__(self, width=2, mask=False):
        super().__init__()
        self.backbone = small()
        self.rpn_head = nn.Sequential(nn.Conv2d(2, width, 1), nn.Conv2d(width, 4, 1))
        if mask:
            self.mask_head = nn.Conv2d(2, 3, 1)


WRAPPERS = ["module.", "module.module.", "_orig_mod.", "net.", "model."]
WRAPPERS += ["module._orig_mod.", "_orig_mod.module.", "net.module.", "model.net.module._orig_mod."]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("containers", [(), ("model",), ("net", "state_dict"), ("model_state",)])
def test_wrappers_and_containers_are_taken_off(tmp_path, wrapper, containers):
    source, target = Part(), Part()
    contents = {wrapper + key: value for key, value in source.state_dict().items()}
    for name in containers:
        contents = {name: contents, "epoch": 3, "optimizer": {"state": {}}}
    load_weights(target, saved(tmp_path, contents))
    assert same(target, source.state_dict())


def test_wrappers_within_names_are_taken_off_but_a_models_own_names_stay(tmp_path):
    source, target = Part(), Part()
    weights = {
        key.replace("backbone.", "backbone._orig_mod.module."): value
        for key, value in source.state_dict().items()
    }
    assert same(load_weights(target, saved(tmp_path, weights)), source.state_dict())
    own = [nn.ModuleDict({"backbone": nn.ModuleDict({"model": small()})}) for _ in range(2)]
    weights = own[0]["backbone"].state_dict()  # model.0.weight
    assert same(load_weights(own[1], saved(tmp_path, weights)), own[0].state_dict())


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"model": {"a": torch.ones(1)}, "net": {"a": torch.ones(1)}}, "as model and net"),
        ({"module.0.bias": torch.ones(2), "0.bias": torch.ones(2)}, "holds 0.bias twice"),
        ({1: torch.ones(1)}, "expected names of weights, found 1"),
        ({"0.bias": torch.ones(2), ("a",): 1}, "expected names of weights"),
        ({"0.bias": "text", "0.weight": torch.ones(2, 1, 3, 3)}, "0.bias is no tensor but str"),
        ({"0.bias": torch.ones(2, dtype=torch.int32)}, "0.bias has numbers of type int32"),
        ({"0.bias": torch.ones(2, dtype=torch.bool)}, "0.bias has numbers of type bool"),
        ({"0.bias": torch.ones(2, dtype=torch.complex64)}, "numbers of type complex64"),
        ({"0.bias": torch.ones(2).to_sparse()}, "0.bias is no dense tensor"),
        ({"0.bias": torch.ones(2, device="meta")}, "0.bias is no dense tensor"),
        ({"0.bias": torch.tensor([1, float("nan")])}, "0.bias is not finite"),
        ({"0.bias": torch.tensor([1, 1e300], dtype=torch.float64)}, "0.bias is not finite"),
        ({"1.num_batches_tracked": torch.tensor(1.5)}, "num_batches_tracked has numbers of type"),
    ],
)
def test_what_is_no_weight_is_named_and_refused(tmp_path, contents, words):
    path = saved(tmp_path, contents)
    with pytest.raises(ValueError, match=r"weights\.pth") as error:
        load_weights(small(), path)
    assert words in str(error.value)
    with pytest.raises(ValueError, match=r"weights\.pth"):
        load_backbone(small(), path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_converted(tmp_path, dtype):
    source, target = small(), small()
    weights = {
        k: v.to(dtype) if v.is_floating_point() else v for k, v in source.state_dict().items()
    }
    load_weights(target, saved(tmp_path, weights))
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, weights["0.weight"].float())
    counters = {key: value.to(dtype) for key, value in source.state_dict().items()}
    load_weights(target, saved(tmp_path, counters))
    assert target[1].num_batches_tracked.dtype == torch.int64


def test_what_fits_is_loaded_and_the_rest_is_listed_by_part(tmp_path, caplog):
    source, target = Part(width=3), Part(mask=True)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    weights = {**source.state_dict(), "extra.weight": torch.ones(1), "epoch": 3}
    load_backbone(target, saved(tmp_path, weights))
    assert same(target.backbone, source.backbone.state_dict())
    assert torch.equal(target.rpn_head[1].bias, source.rpn_head[1].bias)
    for name in ("rpn_head.0.weight", "rpn_head.1.weight", "mask_head.weight"):
        assert torch.equal(target.state_dict()[name], before[name])
    text = caplog.text
    assert "mask_head (2 of 2 entries)" in text
    assert "rpn_head (3 of 4 entries)" in text
    assert "not used: epoch (1 of 1 entries), extra (1 of 1 entries)" in text
    assert "of another shape: rpn_head.0.bias, rpn_head.0.weight, rpn_head.1.weight" in text
    assert "backbone" not in text.partition("not used")[0].partition("fits in part")[2]
    with pytest.raises(ValueError, match="2 missing: mask_head"):
        load_weights(target, saved(tmp_path, weights))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.", "module.backbone.", "features."])
def test_the_file_of_a_backbone_serves_a_network(tmp_path, prefix, caplog):
    source, target = small(), Part()
    weights = {prefix + key: value for key, value in source.state_dict().items()}
    if prefix == "features.":
        target.backbone = nn.ModuleDict({"features": target.backbone})
        weights = source.state_dict()
    load_backbone(target, saved(tmp_path, weights))
    assert torch.equal(next(target.backbone.parameters()), source[0].weight)
    assert "at random, if not loaded before: rpn_head (4 of 4 entries)" in caplog.text
    with pytest.raises(ValueError, match="4 missing: rpn_head"):
        load_weights(target, saved(tmp_path, weights))


def test_two_heads_that_a_network_lacks_may_have_one_name(tmp_path, caplog):
    weights = small().state_dict()
    heads = {"fc.weight": torch.ones(3), "model.fc.weight": torch.zeros(3)}
    load_backbone(model := small(), saved(tmp_path, {**weights, **heads}))
    assert same(model, weights)
    assert "not used: fc" in caplog.text


def test_the_file_of_a_network_serves_a_backbone(tmp_path):
    source, target = Part(), small()
    weights = {f"module.{key}": value for key, value in source.state_dict().items()}
    load_backbone(target, saved(tmp_path, {"state_dict": weights}))
    assert same(target, source.backbone.state_dict())


@pytest.mark.parametrize(
    "contents", [{"a": torch.ones(1)}, {"0.weight": torch.ones(1)}, {"1.num_batches_tracked": 1}]
)
def test_a_file_without_anything_that_fits_is_refused(tmp_path, contents):
    with pytest.raises(ValueError, match=r"weights\.pth (does not fit|holds no weights)"):
        load_backbone(small(), saved(tmp_path, contents))


RENAMES = [
    {"feature": "backbone", "rpn": "rpn_head"},
    {"feature.": "backbone.", "rpn.": "rpn_head."},
    {"module.feature": "backbone", "rpn": "rpn_head"},
]


@pytest.mark.parametrize("rename", RENAMES)
@pytest.mark.parametrize("load", [load_weights, load_backbone])
def test_names_of_forks_are_mapped(tmp_path, rename, load, caplog):
    source, target = Part(), Part()
    weights = {
        "module." + key.replace("backbone", "feature").replace("rpn_head", "rpn"): value
        for key, value in source.state_dict().items()
    }
    load(target, saved(tmp_path, weights), rename=rename)
    assert same(target, source.state_dict())
    assert not caplog.text
    with pytest.raises(ValueError, match="does not fit"):
        load_weights(target, saved(tmp_path, weights), rename={"feat": "backbone"})
    assert "no name in" in caplog.text


def test_safetensors_load(tmp_path):
    source = small()
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(source.state_dict(), path)
    assert same(load_weights(small(), path), source.state_dict())
    wrapped = {f"module.{key}": value for key, value in source.state_dict().items()}
    safetensors.torch.save_file(wrapped, path)
    assert same(load_weights(small(), path), source.state_dict())


def damaged_safetensors(path):
    """Content of a good file and its damages: name -> (bytes, words of the message)."""
    write_weights(path, small().state_dict(), {"config": {"A": 1}})
    good = path.read_bytes()
    header = int.from_bytes(good[:8], "little")
    flipped = bytearray(good)
    flipped[-3] ^= 1
    long = (1 << 62).to_bytes(8, "little")
    checkpoint = io.BytesIO()
    torch.save(small().state_dict(), checkpoint)
    return {
        "cut short": (good[:-4], "is damaged or no safetensors file"),
        "cut in the header": (good[: header // 2], "is damaged or no safetensors file"),
        "empty": (b"", "is damaged or no safetensors file"),
        "a flipped bit": (bytes(flipped), "its weights are not those that its card is of"),
        "a long header": (long + good[8:], "is damaged or no safetensors file"),
        "no header": (good[8:], "is damaged or no safetensors file"),
        "longer": (good + b"more", "is damaged or no safetensors file"),
        "a checkpoint": (checkpoint.getvalue(), "is damaged or no safetensors file"),
        "a page": (b"<!DOCTYPE html><html></html>", "is damaged or no safetensors file"),
    }


def test_damaged_safetensors_are_refused_in_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    for kind, (content, words) in damaged_safetensors(path).items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.safetensors.*{words}") as error:
            load_weights(small(), path)
        assert "\n" not in str(error.value), kind
    with pytest.raises(FileNotFoundError, match=r"not found: .*b\.safetensors"):
        read_checkpoint(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("{", "its card is not JSON"),
        ("[]", "its card is no mapping"),
        ('{"config": 3}', "its card is no mapping with the configuration"),
        ("[" * 100000, "its card is not JSON"),
    ],
)
def test_damaged_cards_are_refused(tmp_path, card, words):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(small().state_dict(), path, {"card": card})
    for read in (read_card, read_checkpoint):
        with pytest.raises(ValueError, match=words):
            read(path)


def test_written_weights_are_read_again(tmp_path):
    weights = small().state_dict()
    for name in ("a.safetensors", "a.pth"):
        path = tmp_path / name
        write_weights(path, weights, {"config": {"A": [1, 2.5]}, "name": "a"})
        assert same(load_weights(small(), path), weights)
        first = path.read_bytes()
        write_weights(path, weights, {"config": {"A": [1, 2.5]}, "name": "a"})
        assert path.read_bytes() == first
    card = read_card(tmp_path / "a.safetensors")
    assert (card["config"], card["name"], len(card["sha256"])) == ({"A": [1, 2.5]}, "a", 64)
    assert torch.load(tmp_path / "a.pth", weights_only=True).keys() == {"state_dict"}


def test_a_file_without_a_card_has_an_empty_one(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(small().state_dict(), path)
    assert read_card(path) == {}
    with pytest.raises(ValueError, match="has no card with a configuration; give one with"):
        card_config(path)


def test_a_card_runs_no_code(tmp_path, caplog):
    (tmp_path / "evil.py").write_text("raise SystemExit(3)")
    config = {"PLUGINS": ["evil.py"], "TRACK": {"LR": 0.25}}
    card = {"config": config, "plugins": {"evil": "0" * 64}}
    path = tmp_path / "a.safetensors"
    write_weights(path, small().state_dict(), card)
    assert load_config(path).TRACK.LR == 0.25
    assert "plug-in evil, in use when this was made, is not named now" in caplog.text


def test_packed_numbers_of_4_bits_are_no_weights():
    kind = getattr(torch, "float4_e2m1fn_x2", None)
    if kind is None:
        pytest.skip("this torch has no such numbers")
    packed = torch.zeros(2, 2, dtype=torch.uint8).view(kind)
    assert tensor_fault(packed) == "has numbers of type float4_e2m1fn_x2"
