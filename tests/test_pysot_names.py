"""PySOT's modules and names that its users' scripts import."""

import re
from importlib import import_module

import pytest
import torch

from pysot.models.backbone import BACKBONES, get_backbone
from pysot.models.head import RPNS, get_rpn_head
from pysot.models.neck import NECKS, get_neck
from pysot.tracker.base_tracker import BaseTracker
from pysot.tracker.tracker_builder import TRACKERS, TRACKS
from pysot.utils import distributed
from pysot.utils.average_meter import AverageMeter
from pysot.utils.distributed import DistModule, average_reduce, dist_init, reduce_gradients
from pysot.utils.log_helper import add_file_handler, init_log, log_once, print_speed
from pysot.utils.misc import bbox_clip, commit, describe
from pysot.utils.model_load import restore_from

NAMES = {
    "pysot.core.config": "cfg",
    "pysot.core.xcorr": "xcorr_fast xcorr_depthwise",
    "pysot.datasets.anchor_target": "AnchorTarget",
    "pysot.datasets.augmentation": "Augmentation",
    "pysot.models.backbone.alexnet": "AlexNet AlexNetLegacy",
    "pysot.models.backbone.mobile_v2": "MobileNetV2",
    "pysot.models.backbone.resnet_atrous": "ResNet",
    "pysot.models.backbone": "BACKBONES get_backbone",
    "pysot.models.head": "RPNS MASKS REFINE get_rpn_head get_mask_head get_refine_head",
    "pysot.models.head.mask": "MaskCorr Refine",
    "pysot.models.head.rpn": "UPChannelRPN DepthwiseRPN MultiRPN",
    "pysot.models.loss": "select_cross_entropy_loss weight_l1_loss",
    "pysot.models.model_builder": "ModelBuilder",
    "pysot.models.neck": "NECKS get_neck",
    "pysot.models.neck.neck": "AdjustLayer AdjustAllLayer",
    "pysot.tracker.base_tracker": "BaseTracker SiameseTracker",
    "pysot.tracker.siammask_tracker": "SiamMaskTracker",
    "pysot.tracker.siamrpn_tracker": "SiamRPNTracker",
    "pysot.tracker.siamrpnlt_tracker": "SiamRPNLTTracker",
    "pysot.tracker.tracker_builder": "TRACKS build_tracker",
    "pysot.utils.anchor": "Anchors",
    "pysot.utils.bbox": "Center Corner center2corner corner2center get_axis_aligned_bbox IoU",
    "pysot.utils.average_meter": "AverageMeter Meter",
    "pysot.utils.distributed": "DistModule average_reduce dist_init get_rank get_world_size "
    "reduce_gradients broadcast_params",
    "pysot.utils.log_helper": "init_log add_file_handler print_speed log_once",
    "pysot.utils.lr_scheduler": "build_lr_scheduler",
    "pysot.utils.misc": "bbox_clip commit describe",
    "pysot.utils.model_load": "load_pretrain restore_from",
    "toolkit.datasets": "DatasetFactory OTBDataset UAVDataset LaSOTDataset NFSDataset VOTDataset "
    "VOTLTDataset",
    "toolkit.evaluation": "OPEBenchmark AccuracyRobustnessBenchmark EAOBenchmark F1Benchmark",
    "toolkit.utils.region": "vot_overlap vot_overlap_traj vot_float2str",
    "toolkit.utils.statistics": "success_overlap success_error overlap_ratio calculate_accuracy "
    "calculate_failures calculate_expected_overlap calculate_f1 determine_thresholds",
    "toolkit.visualization": "draw_success_precision draw_eao draw_f1",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_scripts_look_for_them(module):
    found = import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_parts_are_built_by_name():
    backbone = get_backbone("alexnet", width_mult=0.05)
    assert type(backbone) is BACKBONES["alexnet"]
    assert isinstance(get_rpn_head("DepthwiseRPN", anchor_num=5), RPNS["DepthwiseRPN"])
    assert isinstance(get_neck("AdjustLayer", in_channels=3, out_channels=2), NECKS["AdjustLayer"])
    with pytest.raises(ValueError, match=r"unknown backbone 'alexnett'; known: .*alexnet"):
        get_backbone("alexnett")


def test_trackers_are_registered_as_in_a_dict(monkeypatch):
    monkeypatch.setattr(TRACKERS, "_entries", type(TRACKERS._entries)("tracker"))
    TRACKS["Own"] = BaseTracker
    assert TRACKERS.get("Own") is BaseTracker


def test_logs_go_to_the_terminal_and_a_file(tmp_path, capsys):
    log = init_log("doors")
    assert init_log("doors").handlers == log.handlers
    add_file_handler("doors", str(tmp_path / "log.txt"))
    log_once("once", "doors")
    log_once("once", "doors")
    print_speed(10, 6.0, 1000, "doors")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split("] ", 1)[1] for line in lines] == [
        "once",
        "Progress: 10 / 1000 [1%], Speed: 6.000 s/iter, ETA 0:01:39 (D:H:M)",
    ]
    assert "once" in capsys.readouterr().err
    for handler in [*log.handlers]:
        log.removeHandler(handler)
        handler.close()


def test_averages_are_of_the_last_values():
    meters = AverageMeter(num=2)
    for value in (1, 2, 4):
        meters.update(loss=value, time=0.5)
    assert (meters.loss.val, meters.loss.avg, meters.time.avg) == (4, 3, 0.5)
    assert str(meters) == "loss: 4.000000 (3.000000)\ntime: 0.500000 (0.500000)"
    with pytest.raises(AttributeError, match="no meter 'speed'"):
        meters.speed  # noqa: B018


def test_one_process_reduces_nothing():
    model = DistModule(torch.nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    reduce_gradients(model)
    assert model.module.weight.grad.tolist() == [[1, 1]]
    assert (dist_init(), average_reduce(3.0)) == ((0, 1), 3.0)
    with pytest.raises(ValueError, match="unknown way 'max'"):
        reduce_gradients(model, "max")


def test_processes_average_numbers_and_tensors(monkeypatch):
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.mul_(2).add_(1))
    weight = torch.ones(1, requires_grad=True)
    assert [float(average_reduce(value)) for value in (3, 0.5, weight)] == [3.5, 1.0, 1.5]
    assert weight.item() == 1


def test_odds_and_ends():
    assert [bbox_clip(x, 0, 10) for x in (-1, 5, 11)] == [0, 5, 10]
    assert describe(torch.nn.Linear(2, 1), "head").splitlines()[0] == (
        "head.weight (1, 2) trainable"
    )
    assert commit() == "" or re.match(r"[0-9a-f]{40}\n## ", commit())


def test_training_is_restored_with_its_optimizer(tmp_path):
    one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (one, other)]
    one(torch.ones(1, 2)).sum().backward()
    optimizers[0].step()
    content = {"epoch": 3, "state_dict": one.state_dict(), "optimizer": optimizers[0].state_dict()}
    torch.save(content, tmp_path / "c.pth")
    model, optimizer, epoch = restore_from(other, optimizers[1], str(tmp_path / "c.pth"))
    assert epoch == 3
    assert model.weight.tolist() == one.weight.tolist()
    assert len(optimizer.state_dict()["state"]) == 2
    torch.save(one.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no training checkpoint"):
        restore_from(other, optimizers[1], tmp_path / "w.pth")
