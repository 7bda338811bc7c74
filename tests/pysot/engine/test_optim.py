import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from pysot.core.config import default_config, load_config
from pysot.engine.optim import OptimizerPlan, begin_epoch, build_optimizer_plan, freeze_backbone
from pysot.models.model_builder import ModelBuilder
from pysot.utils.lr_scheduler import RATES, Schedule, build_lr_scheduler, build_schedule

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
RUNS = json.loads((Path(__file__).parents[2] / "golden" / "train" / "lr.json").read_text())
CASES = [
    pytest.param(run, case, id=f"{run['config']}-{case['type']}-{case['warmup']}")
    for run in RUNS
    for case in run["cases"]
]


def configured(type_, kwargs, epochs, warm_up=None):
    cfg = default_config()
    cfg.merge_from_other_cfg({"TRAIN": {"EPOCH": epochs, "LR": {"TYPE": type_, "KWARGS": kwargs}}})
    cfg.TRAIN.LR_WARMUP.WARMUP = warm_up is not None
    if warm_up:
        cfg.merge_from_other_cfg({"TRAIN": {"LR_WARMUP": warm_up}})
    return cfg


@pytest.mark.parametrize(("run", "case"), CASES)
def test_learning_rates_are_those_of_pysot(run, case):
    warm_up = run["WARMUP"] if case["warmup"] else None
    schedule = build_schedule(configured(case["type"], case["kwargs"], case["epochs"], warm_up))
    exact = case["type"] not in ("multi-step", "cos")  # these have single precision
    tolerance = 1e-12 if exact else 1e-7
    assert schedule.values == pytest.approx(case["lr_spaces"], rel=tolerance)
    assert schedule.start_lr == pytest.approx(case["start_lr"], rel=tolerance)
    bases = (run["BASE_LR"] * run["LAYERS_LR"], run["BASE_LR"])
    for epoch, expected in enumerate(case["group_lr_per_epoch_[backbone,rest]"]):
        found = [schedule.lr_at(epoch, base) for base in bases]
        assert found == pytest.approx(expected, rel=2 * tolerance), epoch


@pytest.mark.parametrize(
    ("type_", "kwargs", "expected"),
    [
        ("step", {"start_lr": 1.0, "step": 2, "mult": 0.5}, [1, 1, 0.5, 0.5, 0.25]),
        # fewer epochs than a step: nothing changes
        ("step", {"start_lr": 1.0, "end_lr": 0.1, "step": 9}, [1, 1, 1, 1, 1]),
        ("multi-step", {"start_lr": 1.0, "steps": [1, 4], "mult": 0.5}, [1, 0.5, 0.5, 0.5, 0.25]),
        ("linear", {"start_lr": 1.0, "end_lr": 0.0}, [1, 0.75, 0.5, 0.25, 0]),
        ("log", {"start_lr": 1.0, "end_lr": 1e-4}, [1, 0.1, 0.01, 0.001, 0.0001]),
        # half a wave that is at its middle after half the epochs
        (
            "cos",
            {"start_lr": 2.0, "end_lr": 0.0},
            [1 + math.cos(math.pi * e / 5) for e in range(5)],
        ),
    ],
)
def test_schedules_by_hand(type_, kwargs, expected):
    assert RATES[type_](5, **kwargs).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_rates_within_an_epoch_are_on_a_line():
    schedule = Schedule((0.1, 0.2, 0.05), 0.2)
    rates = [schedule.lr_at(epoch, 0.2) for epoch in (0, 0.5, 1, 1.25, 2, 2.9)]
    assert rates == pytest.approx([0.1, 0.15, 0.2, 0.1625, 0.05, 0.05])


@pytest.mark.parametrize(
    ("type_", "kwargs", "message"),
    [
        ("exp", {}, "unknown schedule 'exp'; known: cos, linear, log, multi-step, step"),
        ("log", {"start_lr": 0.1}, "end_lr"),
        ("log", {"start_lr": 0.1, "end_lr": 0.01, "pace": 2}, "pace"),
        ("step", {"start_lr": 0.1}, "either end_lr or mult"),
        ("step", {"start_lr": 0.1, "end_lr": 0.01, "step": 0}, "TRAIN.LR.KWARGS"),
    ],
)
def test_wrong_schedules_are_named(type_, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build_schedule(configured(type_, kwargs, 5))


def test_warm_up_must_leave_an_epoch():
    warm_up = {"TYPE": "linear", "EPOCH": 5, "KWARGS": {"start_lr": 0.1, "end_lr": 0.2}}
    with pytest.raises(ValueError, match=r"TRAIN.EPOCH \(5\).*LR_WARMUP.EPOCH \(5\)"):
        build_schedule(configured("log", {"start_lr": 0.2, "end_lr": 0.1}, 5, warm_up))


class TwoPartModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential()
        for name in ("layer1", "layer2"):
            block = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3))
            self.backbone.add_module(name, block)
        self.rpn_head = torch.nn.Conv2d(3, 1, 1)

    def forward(self, x):
        return self.rpn_head(self.backbone(x)).square().mean()


def plan(train_epoch=1, layers=("layer2",)):
    schedule = Schedule(values=(0.1, 0.2, 0.4), start_lr=0.1)
    return OptimizerPlan(schedule, 0.1, 0.5, 0.9, 0.0, tuple(layers), train_epoch)


def take_step(model, optimizer):
    optimizer.zero_grad(set_to_none=True)
    model(torch.arange(48.0).reshape(1, 3, 4, 4)).backward()
    optimizer.step()


def test_unknown_train_layer_is_named():
    with pytest.raises(ValueError, match="no layer 'layer9'; it has: layer1, layer2"):
        freeze_backbone(TwoPartModel(), ["layer9"])


def test_unfreezing_adds_the_layer_and_keeps_momentum():
    model = TwoPartModel()
    optimizer = begin_epoch(model, plan(), 0)
    frozen = [p.clone() for p in model.backbone.parameters()]
    take_step(model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(frozen, model.backbone.parameters(), strict=True))
    momentum = optimizer.state[model.rpn_head.weight]["momentum_buffer"].clone()
    assert momentum.abs().sum() > 0

    optimizer = begin_epoch(model, plan(), 1, optimizer)
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 2]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.2])
    kept = optimizer.state[model.rpn_head.weight]["momentum_buffer"]
    assert torch.equal(kept, momentum)
    take_step(model, optimizer)
    first, second = list(model.backbone.children())
    assert torch.equal(first[0].weight, frozen[0])
    assert not torch.equal(second[0].weight, frozen[4])


def test_a_backbone_that_learns_from_the_start():
    model = TwoPartModel()
    optimizer = begin_epoch(model, plan(train_epoch=0, layers=("layer1", "layer2")), 0)
    assert [len(group["params"]) for group in optimizer.param_groups] == [8, 2]


def test_a_frozen_part_neither_learns_nor_counts():
    model = TwoPartModel()
    model.neck = torch.nn.BatchNorm2d(3)
    model.refine_head = torch.nn.Conv2d(3, 1, 1)
    frozen = dataclasses.replace(plan(train_epoch=9), frozen=("neck", "rpn_head"))
    optimizer = begin_epoch(model, frozen, 0)
    # backbone, neck, rpn_head, refine_head
    assert [len(group["params"]) for group in optimizer.param_groups] == [0, 0, 0, 2]
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    assert learning == ["refine_head.weight", "refine_head.bias"]
    assert not model.neck.training and model.refine_head.training


@pytest.mark.parametrize("name", ["siammask_r50_l3_refine", "siammask_r18_tiny"])
def test_second_stages_of_siammask_teach_the_refinement_alone(name):
    cfg = load_config(EXPERIMENTS / name / "config.yaml")
    with torch.device("meta"):
        model = ModelBuilder(cfg)
    for epoch in (0, cfg.TRAIN.EPOCH - 1):
        optimizer = begin_epoch(model, build_optimizer_plan(cfg), epoch)
        learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        assert learning == {"refine_head"}
        counts = [len(group["params"]) for group in optimizer.param_groups]
        assert counts == [0, 0, 0, 0, len(list(model.refine_head.parameters()))]
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert norms and not any(norm.training for norm in norms)


def test_unknown_frozen_part_is_named():
    frozen = dataclasses.replace(plan(), frozen=("backbone",))
    with pytest.raises(ValueError, match=r"FROZEN: .*'backbone'.*it has: rpn_head"):
        begin_epoch(TwoPartModel(), frozen, 0)


def test_plan_follows_the_configuration():
    cfg = configured("log", {"start_lr": 0.1, "end_lr": 0.01}, 3)
    cfg.TRAIN.MOMENTUM = 0.5
    built = build_optimizer_plan(cfg)
    assert (built.momentum, built.base_lr, built.train_epoch) == (0.5, 0.005, 10)


@pytest.mark.parametrize("kind", ["step", "multi-step"])
def test_rates_may_be_whole_numbers(kind):
    built = build_optimizer_plan(configured(kind, {"start_lr": 1, "mult": 1}, 3))
    assert built.rates == pytest.approx([0.005] * 3)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"start_lr": 0, "end_lr": 0.1}, "start_lr is 0"),
        ({"start_lr": -1, "end_lr": -1}, "start_lr is -1"),
        ({"start_lr": [], "end_lr": 0.1}, "TRAIN.LR.KWARGS do not fit the schedule 'linear'"),
        ({"start_lr": [1], "end_lr": 0.1}, "TRAIN.LR.KWARGS do not fit the schedule 'linear'"),
        ({"start_lr": "a", "end_lr": 0.1}, "TRAIN.LR.KWARGS do not fit the schedule 'linear'"),
    ],
)
@pytest.mark.parametrize("warmup", [True, False])
def test_schedules_of_no_positive_numbers_are_refused(kwargs, words, warmup):
    cfg = default_config()
    cfg.merge_from_list(["TRAIN.LR.TYPE", "linear", "TRAIN.LR.KWARGS", kwargs])
    cfg.merge_from_list(["TRAIN.LR_WARMUP.WARMUP", warmup])
    cfg.merge_from_list(["TRAIN.LR_WARMUP.KWARGS", {"start_lr": 0.1, "end_lr": 0.1}])
    with pytest.raises(ValueError) as error:
        build_optimizer_plan(cfg)
    assert words in str(error.value)


@pytest.mark.parametrize(("run", "case"), CASES)
def test_a_script_s_scheduler_sets_the_rates_of_every_epoch(run, case):
    warm_up = run["WARMUP"] if case["warmup"] else None
    cfg = configured(case["type"], case["kwargs"], case["epochs"], warm_up)
    bases = (run["BASE_LR"] * run["LAYERS_LR"], run["BASE_LR"])
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in bases]
    scheduler = build_lr_scheduler(torch.optim.SGD(groups, lr=1), cfg=cfg)
    for epoch, expected in enumerate(case["group_lr_per_epoch_[backbone,rest]"]):
        scheduler.step()
        found = [group["lr"] for group in scheduler.optimizer.param_groups]
        assert found == pytest.approx(expected, rel=2e-7)
        assert scheduler.get_cur_lr() == pytest.approx(case["lr_spaces"][epoch], rel=1e-7)
    longer = build_lr_scheduler(scheduler.optimizer, case["epochs"] + 3, cfg=cfg)
    assert len(longer.lr_spaces) == case["epochs"] + 3
