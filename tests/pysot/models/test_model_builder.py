import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from golden import fill
from pysot.core import config as configuration
from pysot.core.config import default_config, load_config
from pysot.models.model_builder import (
    MaskPrediction,
    ModelBuilder,
    build_model,
    load_pretrained,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "models"
EXPERIMENTS = Path(__file__).parents[3] / "experiments"
NAMES = sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml"))


def recorded(kind):
    deep = json.loads(gzip.decompress((GOLDEN / f"{kind}_deep.json.gz").read_bytes()))
    return json.loads((GOLDEN / f"{kind}_alexnet.json").read_text()) | deep


KEYS = recorded("keys")
FORWARD = recorded("forward")


def config_of(name):
    published = EXPERIMENTS / name / "config.yaml"
    return load_config(published if published.exists() else GOLDEN / f"{name}.yaml")


def filled(name):
    model = build_model(config_of(name))
    shapes = [(key, value.shape) for key, value in model.state_dict().items()]
    weights = {key: torch.from_numpy(value) for key, value in fill.fill(shapes).items()}
    model.load_state_dict(weights)
    return model


def tiny(**overrides):
    config = default_config()
    values = {
        "BACKBONE.TYPE": "alexnet",
        "BACKBONE.KWARGS": {"width_mult": 0.1},
        "ADJUST.ADJUST": False,
        "RPN.TYPE": "DepthwiseRPN",
        "RPN.KWARGS": {"anchor_num": 5, "in_channels": 25, "out_channels": 8},
        **overrides,
    }
    for key, value in values.items():
        config.merge_from_list([key, value])
    return config


@pytest.mark.parametrize("name", KEYS)
def test_parameters_have_the_published_names_shapes_and_types(name):
    with torch.device("meta"):
        state = ModelBuilder(config_of(name)).state_dict()
    assert [[k, list(v.shape), str(v.dtype)] for k, v in state.items()] == KEYS[name]


def as_list(maps):
    return [maps] if isinstance(maps, torch.Tensor) else maps


def all_maps(model, z, x):
    """Everything that the recorded runs hold: maps of every part for both images."""
    passed = {"backbone": [], "neck": []}
    for part, maps in passed.items():
        if hasattr(model, part):
            getattr(model, part).register_forward_hook(lambda _, __, out, m=maps: m.append(out))
    kernels = model.encode_template(z)
    cls, loc, *rest = (model.predict_with_mask if model.has_masks else model.predict)(kernels, x)
    outputs = {
        f"{part}_{side}{i}": level
        for part, maps in passed.items()
        for side, both in zip("zx", maps, strict=False)
        for i, level in enumerate(as_list(both))
    }
    outputs |= {"cls": cls, "loc": loc}
    if model.has_masks:
        outputs["mask_corr_feature"] = rest[0]
        outputs["mask"] = model.mask_head.masks(rest[0])
        refines = hasattr(model, "refine_head")
        for row, column in ((12, 12), (0, 0), (24, 24), (3, 19)) if refines else ():
            found = MaskPrediction(cls, loc, *rest)
            outputs[f"refine_{row}_{column}"] = model.refine(found, (row, column))
    return outputs


# of large networks the second run, with two images, is for when there is time
RUNS = [
    pytest.param(name, number, marks=[pytest.mark.slow] if number and "alex" not in name else [])
    for name in FORWARD
    for number in range(len(FORWARD[name]["runs"]))
]


@pytest.mark.parametrize(("name", "number"), RUNS)
@torch.inference_mode()
def test_outputs_equal_recorded_ones(name, number):
    run = FORWARD[name]["runs"][number]
    z = torch.from_numpy(fill.image_batch(run["seed_template"], run["batch"], 127))
    x = fill.image_batch(run["seed_search"], run["batch"], FORWARD[name]["search_size"])
    outputs = all_maps(filled(name), z, torch.from_numpy(x))
    assert outputs.keys() == run["digests"].keys()
    for key, expected in run["digests"].items():
        ours = fill.digest(outputs[key].numpy())
        assert ours["shape"] == expected["shape"]
        for value in ("samples", "mean", "std", "min", "max"):
            np.testing.assert_allclose(ours[value], expected[value], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_experiments_build_and_give_a_response_of_the_expected_size(name):
    config = config_of(name)
    size = config.TRACK.INSTANCE_SIZE
    side = (size - config.TRACK.EXEMPLAR_SIZE) // config.ANCHOR.STRIDE + 1 + config.TRACK.BASE_SIZE
    with torch.device("meta"):
        model = build_model(config)
        kernels = model.encode_template(torch.zeros(2, 3, config.TRACK.EXEMPLAR_SIZE, 127))
        cls, loc = model.predict(kernels, torch.zeros(2, 3, size, size))
    anchors = config.ANCHOR.ANCHOR_NUM
    boxless = config.RPN.TYPE in ("FC", "UnitFC")
    assert cls.shape == (2, 1 if boxless else 2 * anchors, side, side)
    assert loc is None if boxless else loc.shape == (2, 4 * anchors, side, side)


@pytest.mark.parametrize("name", NAMES)
def test_experiments_that_train_have_the_response_that_is_labelled(name):
    if "TRAIN" not in yaml.safe_load((EXPERIMENTS / name / "config.yaml").read_text()):
        return
    config = config_of(name)
    train, shown = config.TRAIN, {}
    with torch.device("meta"):
        model = build_model(config)
        head = model.mask_head if model.has_masks else model.rpn_head
        correlate = head.correlate
        head.correlate = lambda kernels, xf: shown.setdefault("found", correlate(kernels, xf))
        model._mask_losses = lambda *_: {}  # there are no values to choose cells by
        z, x = (torch.zeros(2, 3, side, side) for side in (train.EXEMPLAR_SIZE, train.SEARCH_SIZE))
        anchors, side = config.ANCHOR.ANCHOR_NUM, train.OUTPUT_SIZE
        boxless = config.RPN.TYPE in ("FC", "UnitFC")
        cells = (2, 1 if boxless else anchors, side, side)
        labels = {
            "label_cls": torch.zeros(cells, dtype=torch.int64),
            "label_loc": torch.zeros(2, 4, anchors, side, side),
            "label_loc_weight": torch.zeros(cells),
        }
        model({"template": z, "search": x, **labels})
    found = shown["found"]
    assert (found if model.has_masks else found[0]).shape[-1] == side


@pytest.mark.parametrize("name", json.loads((GOLDEN / "published_configs.json").read_text()))
def test_published_experiments_have_the_published_values(name):
    published = json.loads((GOLDEN / "published_configs.json").read_text())[name]
    assert yaml.safe_load((EXPERIMENTS / name / "config.yaml").read_text()) == published


HEADS = {
    "DepthwiseRPN": {"anchor_num": 5, "in_channels": 25, "out_channels": 8},
    "UPChannelRPN": {"anchor_num": 5, "feature_in": 25},
    "MultiRPN": {"anchor_num": 5, "in_channels": [8, 9, 10], "weighted": True},
    "FC": {},
}
MOBILE = {
    "BACKBONE.TYPE": "mobilenetv2",
    "BACKBONE.KWARGS": {"width_mult": 0.25, "used_layers": [3, 5, 7]},
    "ADJUST.ADJUST": True,
    "ADJUST.KWARGS": {"in_channels": [8, 24, 80], "out_channels": [8, 9, 10]},
}


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_learns(head):
    torch.manual_seed(0)
    deep = head == "MultiRPN"
    parts = {"RPN.TYPE": head, "RPN.KWARGS": HEADS[head], **(MOBILE if deep else {})}
    model = ModelBuilder(tiny(**parts))
    anchors, side = (1, 17) if head == "FC" else (5, 25 if deep else 17)
    batch = fill.train_batch(1, 2, anchors, side)
    losses = model({key: torch.from_numpy(value) for key, value in batch.items()})
    assert losses.keys() == {"total_loss", "cls_loss"} | ({"loc_loss"} if head != "FC" else set())
    losses["total_loss"].backward()
    # the convolution biases in front of a batch norm have no effect, hence no gradient but noise
    dead = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert dead == []
    weights = {n: p for n, p in model.named_parameters() if n.endswith("weight")}
    assert [n for n, p in weights.items() if p.grad.abs().max() == 0] == []


def test_total_loss_is_the_weighted_sum():
    model = ModelBuilder(tiny(**{"TRAIN.CLS_WEIGHT": 2.0, "TRAIN.LOC_WEIGHT": 3.0}))
    batch = {k: torch.from_numpy(v) for k, v in fill.train_batch(1, 2, 5, 17).items()}
    losses = model(batch)
    torch.testing.assert_close(
        losses["total_loss"], 2 * losses["cls_loss"] + 3 * losses["loc_loss"]
    )


@torch.inference_mode()
def test_two_targets_share_one_model():
    model = build_model(tiny())
    z = torch.from_numpy(fill.image_batch(1, 2, 127))
    x = torch.from_numpy(fill.image_batch(2, 1, 255))
    first, second = model.encode_template(z[:1]), model.encode_template(z[1:])
    alone = model.predict(first, x)[0]
    assert not torch.equal(alone, model.predict(second, x)[0])
    assert torch.equal(alone, model.predict(first, x)[0])


@torch.inference_mode()
def test_pysots_three_lines_still_work(monkeypatch):
    monkeypatch.setattr(configuration, "cfg", tiny())
    model = ModelBuilder().eval()
    z = torch.from_numpy(fill.image_batch(1, 1, 127))
    x = torch.from_numpy(fill.image_batch(2, 1, 255))
    with pytest.raises(ValueError, match="template"):
        model.track(x)
    model.template(z)
    outputs = model.track(x)
    cls, loc = model.predict(model.encode_template(z), x)
    assert torch.equal(outputs["cls"], cls)
    assert torch.equal(outputs["loc"], loc)
    assert outputs["mask"] is None


MASKS = {
    "BACKBONE.TYPE": "resnet50",
    "BACKBONE.KWARGS": {"used_layers": [0, 1, 2, 3]},
    "ADJUST.ADJUST": True,
    "ADJUST.KWARGS": {"in_channels": [1024], "out_channels": [16]},
    "RPN.KWARGS": {"anchor_num": 5, "in_channels": 16, "out_channels": 8},
    "MASK.MASK": True,
    "MASK.KWARGS": {"in_channels": 16, "hidden": 256, "out_channels": 9},
    "REFINE.REFINE": True,
}


@pytest.fixture(scope="module")
def mask_model():
    return build_model(tiny(**MASKS))


@torch.inference_mode()
def test_masks_through_pysots_interface_equal_the_stateless_ones(mask_model):
    model = mask_model
    z = torch.from_numpy(fill.image_batch(1, 1, 127))
    x = torch.from_numpy(fill.image_batch(2, 1, 255))
    with pytest.raises(ValueError, match="before mask_refine"):
        model.mask_refine((0, 0))
    model.template(z)
    outputs = model.track(x)
    found = model.predict_with_mask(model.encode_template(z), x)
    assert torch.equal(outputs["cls"], found.cls)
    assert torch.equal(outputs["loc"], found.loc)
    assert torch.equal(outputs["mask"], model.mask_head.masks(found.correlation))
    assert outputs["mask"].shape == (1, 9, 25, 25)
    assert torch.equal(model.mask_refine((3, 19)), model.refine(found, (3, 19)))
    assert torch.equal(model.predict(model.encode_template(z), x)[0], found.cls)


@torch.inference_mode()
def test_coarse_masks_are_not_computed_unless_asked_for(mask_model, monkeypatch):
    monkeypatch.setattr(mask_model.mask_head, "head", None)
    kernels = mask_model.encode_template(torch.zeros(1, 3, 127, 127))
    found = mask_model.predict_with_mask(kernels, torch.zeros(1, 3, 255, 255))
    assert mask_model.refine(found, (0, 0)).shape == (1, 127 * 127)


def test_what_a_network_was_built_without_names_the_key():
    plain = build_model(tiny())
    with pytest.raises(ValueError, match=r"MASK\.MASK: this network was built without masks"):
        plain.predict_with_mask(None, torch.zeros(1, 3, 255, 255))
    with pytest.raises(ValueError, match=r"REFINE\.REFINE"):
        plain.refine(None, (0, 0))


@torch.inference_mode()
@pytest.mark.parametrize("head", ["DepthwiseRPN", "UPChannelRPN", "FC"])
def test_one_template_is_sought_in_many_images(head):
    model = build_model(tiny(**{"RPN.TYPE": head, "RPN.KWARGS": HEADS[head]}))
    kernels = model.encode_template(torch.from_numpy(fill.image_batch(1, 1, 127)))
    x = torch.from_numpy(fill.image_batch(2, 3, 255))
    together = model.predict(kernels, x)[0]
    alone = torch.cat([model.predict(kernels, image[None])[0] for image in x])
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_pretrained_backbone_comes_from_the_path_in_the_configuration(tmp_path):
    torch.manual_seed(0)
    weights = build_model(tiny()).backbone.state_dict()
    torch.save(weights, tmp_path / "backbone.pth")
    config = tiny(**{"BACKBONE.PRETRAINED": str(tmp_path / "backbone.pth")})
    model = build_model(config)
    load_pretrained(model, config)
    assert all(torch.equal(v, weights[k]) for k, v in model.backbone.state_dict().items())
    load_pretrained(model, tiny())  # names none: nothing to load


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"BACKBONE.TYPE": "res51"}, "BACKBONE.TYPE: unknown backbone 'res51'; known: alexnet"),
        ({"RPN.TYPE": "RPN"}, "RPN.TYPE: unknown RPN head 'RPN'"),
        ({"BACKBONE.KWARGS": {"width": 1}}, "BACKBONE.KWARGS do not fit backbone 'alexnet'"),
        (
            {"BACKBONE.KWARGS": {"width_mult": 1.0}},
            "RPN.KWARGS.in_channels (feature_in for UPChannelRPN): the head takes 25 channels, "
            "the backbone gives 256; change it, or BACKBONE.KWARGS",
        ),
        ({"BACKBONE.KWARGS": {"width_mult": 0.001}}, "BACKBONE.KWARGS.width_mult: 0.001"),
        ({**MOBILE, "ADJUST.ADJUST": False}, "RPN.TYPE: this head takes one map"),
        ({**MOBILE, "BACKBONE.KWARGS": {"used_layers": [3]}}, "ADJUST.KWARGS.in_channels: the"),
        (
            {**MOBILE, "RPN.TYPE": "MultiRPN", "RPN.KWARGS": {"anchor_num": 5, "in_channels": 8}},
            "RPN.KWARGS.in_channels: MultiRPN takes a list, found 8",
        ),
        (
            {**MOBILE, "RPN.TYPE": "MultiRPN"}
            | {"RPN.KWARGS": HEADS["MultiRPN"]}
            | {"ADJUST.KWARGS": {"in_channels": [8, 24, 80], "out_channels": [8, 9, 9]}},
            "takes [8, 9, 10] channels, the neck gives [8, 9, 9]; change it, or ADJUST.KWARGS",
        ),
        ({**MASKS, "MASK.KWARGS": {**MASKS["MASK.KWARGS"], "in_channels": 8}}, "MASK.KWARGS.in_"),
        (
            {**MASKS, "BACKBONE.KWARGS": {"used_layers": [1, 2, 3]}},
            "BACKBONE.KWARGS.used_layers: before the neck's maps the refine head needs 3, at "
            "strides [2, 4, 8]; the backbone gives [4, 8]",
        ),
        (
            {**MASKS, "REFINE.TYPE": "WindowRefine"},
            "2, at strides [2, 4]; the backbone gives [2",
        ),
        ({**MASKS, "MASK.MASK": False, "BACKBONE.KWARGS": {"used_layers": [3]}}, "REFINE.REFINE"),
        ({**MASKS, "MASK.TYPE": "Mask"}, "MASK.TYPE: unknown mask head 'Mask'; known: MaskCorr"),
        ({"ADJUST.ADJUST": True, "ADJUST.TYPE": "Neck"}, "ADJUST.TYPE: unknown neck 'Neck'"),
        ({"ANCHOR.RATIOS": [1.0]}, "make 1 anchors"),
    ],
)
def test_parts_that_do_not_fit_name_the_key(overrides, words):
    with pytest.raises(ValueError) as error:
        ModelBuilder(tiny(**overrides))
    assert words in str(error.value)
