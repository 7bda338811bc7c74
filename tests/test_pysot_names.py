"""PySOT's modules and names that its users' scripts import."""

from importlib import import_module

import pytest

NAMES = {
    "pysot.core.config": "cfg",
    "pysot.core.xcorr": "xcorr_fast xcorr_depthwise",
    "pysot.datasets.anchor_target": "AnchorTarget",
    "pysot.datasets.augmentation": "Augmentation",
    "pysot.models.backbone.alexnet": "AlexNet AlexNetLegacy",
    "pysot.models.backbone.mobile_v2": "MobileNetV2",
    "pysot.models.backbone.resnet_atrous": "ResNet",
    "pysot.models.head.mask": "MaskCorr Refine",
    "pysot.models.head.rpn": "UPChannelRPN DepthwiseRPN MultiRPN",
    "pysot.models.loss": "select_cross_entropy_loss weight_l1_loss",
    "pysot.models.model_builder": "ModelBuilder",
    "pysot.models.neck.neck": "AdjustLayer AdjustAllLayer",
    "pysot.tracker.base_tracker": "BaseTracker SiameseTracker",
    "pysot.tracker.siammask_tracker": "SiamMaskTracker",
    "pysot.tracker.siamrpn_tracker": "SiamRPNTracker",
    "pysot.tracker.siamrpnlt_tracker": "SiamRPNLTTracker",
    "pysot.tracker.tracker_builder": "build_tracker",
    "pysot.utils.anchor": "Anchors",
    "pysot.utils.bbox": "Center Corner center2corner corner2center get_axis_aligned_bbox IoU",
    "pysot.utils.model_load": "load_pretrain",
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
