"""``pysot export``: what is written computes what PyTorch does, for every system."""

import json
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from golden import fill
from pysot.cli.export import main
from pysot.core import RunFailed
from pysot.core.config import load_config
from pysot.core.registry import RPN_HEADS
from pysot.core.xcorr import xcorr_depthwise
from pysot.export import calibration, parity
from pysot.export.onnx_files import OPSET
from pysot.models.model_builder import build_model
from pysot.tracker.api import Tracker

ALEX = "BACKBONE: {TYPE: alexnet, KWARGS: {width_mult: 0.05}}\nADJUST: {ADJUST: false}\n"
DEPTHWISE = "RPN: {TYPE: DepthwiseRPN, KWARGS: {anchor_num: 5, in_channels: 12, out_channels: 8}}\n"
MASKS = """
BACKBONE: {TYPE: resnet18, KWARGS: {used_layers: [0, 1, 2, 3], width_mult: 0.125}}
ADJUST: {ADJUST: true, TYPE: AdjustAllLayer, KWARGS: {in_channels: [32], out_channels: [8]}}
RPN: {TYPE: DepthwiseRPN, KWARGS: {anchor_num: 5, in_channels: 8, out_channels: 8}}
MASK: {MASK: true, TYPE: MaskCorr, KWARGS: {in_channels: 8, hidden: 8, out_channels: 9}}
"""
LITE_MASKS = """
BACKBONE: {TYPE: efficientnet_lite0, KWARGS: {used_layers: [1, 2, 3, 4, 5]}}
ADJUST: {ADJUST: true, TYPE: UnitFusion, KWARGS: {in_channels: [40, 80, 112]}}
RPN: {TYPE: CorrRPN, KWARGS: {anchor_num: 5, in_channels: 232, hidden: 8}}
MASK: {MASK: true, TYPE: PixelMaskCorr, KWARGS: {in_channels: 232, hidden: 8}}
REFINE: {REFINE: true, TYPE: WindowRefine}
TRACK: {INSTANCE_SIZE: 191, TYPE: SiamMaskTracker}
"""
PAIR = ["kernel_0", "kernel_1"]
# kernels as the head nests them
NESTED = {
    "SiamFC": "kernel_0",
    "SiamRPN": PAIR,
    "DaSiamRPN": PAIR,
    "SiamRPN++": [PAIR, ["kernel_2", "kernel_3"]],
    "SiamMask": [PAIR, "kernel_2"],
    "SiamMask base": PAIR,
    "SiamMask on unit features": [PAIR, "kernel_2"],
    "SiamFC on unit features": "kernel_0",
}
SYSTEMS = {
    "SiamFC": ALEX
    + "RPN: {TYPE: FC, KWARGS: {}}\nTRACK: {INSTANCE_SIZE: 191, TYPE: SiamFCTracker}\n",
    "SiamRPN": ALEX
    + "RPN: {TYPE: UPChannelRPN, KWARGS: {anchor_num: 5, feature_in: 12}}\n"
    + "TRACK: {INSTANCE_SIZE: 191, TYPE: SiamRPNTracker}\n",
    "DaSiamRPN": ALEX + DEPTHWISE + "TRACK: {INSTANCE_SIZE: 191, TYPE: DaSiamRPNTracker}\n",
    "SiamRPN++": """
BACKBONE: {TYPE: resnet18, KWARGS: {used_layers: [2, 3], width_mult: 0.125}}
ADJUST: {ADJUST: true, TYPE: AdjustAllLayer, KWARGS: {in_channels: [16, 32], out_channels: [4, 4]}}
RPN: {TYPE: MultiRPN, KWARGS: {anchor_num: 5, in_channels: [4, 4], weighted: true}}
TRACK: {INSTANCE_SIZE: 191, TYPE: SiamRPNTracker}
""",
    "SiamMask": MASKS
    + "REFINE: {REFINE: true}\nTRACK: {INSTANCE_SIZE: 191, TYPE: SiamMaskTracker}\n",
    "SiamMask base": MASKS + "TRACK: {INSTANCE_SIZE: 191, TYPE: SiamRPNTracker}\n",
    "SiamMask on unit features": LITE_MASKS,
    "SiamFC on unit features": """
BACKBONE: {TYPE: efficientnet_lite0, KWARGS: {used_layers: [3, 4]}}
ADJUST: {ADJUST: true, TYPE: UnitFusion, KWARGS: {in_channels: [40, 80]}}
RPN: {TYPE: UnitFC, KWARGS: {in_channels: 120, rank: 2}}
TRACK: {INSTANCE_SIZE: 191, TYPE: SiamFCTracker}
""",
}


def written(folder, text):
    """A configuration file, and a checkpoint of its network with drawn weights."""
    config = folder / "config.yaml"
    config.write_text(text)
    model = build_model(load_config(config))
    shapes = [(key, value.shape) for key, value in model.state_dict().items()]
    # what only our heads have keeps its first value
    drawn = fill.fill([row for row in shapes if not row[0].endswith(("gain", "offset", "place"))])
    drawn = {key: torch.from_numpy(value) for key, value in drawn.items()}
    model.load_state_dict(model.state_dict() | drawn)
    torch.save(model.state_dict(), folder / "model.pth")
    return ["--config", str(config), "--snapshot", str(folder / "model.pth")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder of an exported SiamRPN, and the command that wrote it."""
    folder = tmp_path_factory.mktemp("siamrpn")
    command = [*written(folder, SYSTEMS["SiamRPN"]), "--output", str(folder / "out")]
    main(command)
    return folder / "out", command


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_exported(system, folders):
    folder = folders(system)
    record = json.loads((folder / "model.json").read_text())
    assert record["kernels"] == NESTED[system]
    assert record["batch"] is None
    kernels = [f"kernel_{number}" for number in range(str(NESTED[system]).count("kernel"))]
    boxes = ["scores"] if system.startswith("SiamFC") else ["scores", "deltas"]
    outputs = {"template": kernels, "search": boxes}
    if SYSTEMS[system].count("SiamMaskTracker"):
        outputs = outputs | {"search": boxes + record["mask"], "refine": ["mask"]}
    for name, file in record["files"].items():
        model = onnx.load(str(folder / file))
        onnx.checker.check_model(model, full_check=True)
        assert [output.name for output in model.graph.output] == outputs[name]
        assert model.opset_import[0].version == record["opset"] == OPSET
    assert record["files"].keys() == outputs.keys()
    assert record["config"]["TRACK"]["TYPE"] == record["system"]
    assert set(record["parity"]) == {name for group in outputs.values() for name in group}
    assert max(record["parity"].values()) < 1e-4


def test_graphs_take_other_batches_and_sizes_than_were_checked(exported):
    model = build_model(load_config(exported[0].parent / "config.yaml"))
    model.load_state_dict(torch.load(exported[0].parent / "model.pth"))
    crops = [parity.draw_crops(5, side, seed) for side, seed in ((127, 3), (303, 4))]
    with torch.inference_mode():
        kernels = model.encode_template(crops[0])
        deltas = model.predict(kernels, crops[1])[1].numpy()
    template, search = (
        onnxruntime.InferenceSession(str(exported[0] / f"{name}.onnx"))
        for name in ("template", "search")
    )
    parts = template.run(None, {"template": crops[0].numpy()})
    feed = {"search": crops[1].numpy(), "kernel_0": parts[0], "kernel_1": parts[1]}
    np.testing.assert_allclose(
        search.run(["deltas"], feed)[0], deltas, atol=1e-4 * np.abs(deltas).max()
    )


def test_graphs_that_compute_something_else_are_not_written(exported, monkeypatch, tmp_path):
    monkeypatch.setattr("pysot.export.folder.LIMIT", 1e-12)
    with pytest.raises(RunFailed, match=r"template: kernel_0 of the exported graph differs .*full"):
        main([*exported[1][:-1], str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_replaced_only_if_told(exported, tmp_path):
    folder, command = exported
    before = (folder / "search.onnx").stat().st_mtime_ns
    with pytest.raises(ValueError, match="is there; choose another --output, or --overwrite"):
        main(command)
    assert (folder / "search.onnx").stat().st_mtime_ns == before
    (tmp_path / "link").symlink_to(folder)
    main([*command[:-1], str(tmp_path / "link"), "--overwrite"])
    assert (folder / "search.onnx").stat().st_mtime_ns > before
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == ["out"]


def test_other_folders_are_never_replaced(exported, tmp_path, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="no exported tracker"):
        main([*exported[1][:-1], str(tmp_path), "--overwrite"])
    (tmp_path / "model.json").touch()
    with pytest.raises(ValueError, match=r"thesis\.txt would be lost"):
        main([*exported[1][:-1], str(tmp_path), "--overwrite"])
    assert (tmp_path / "thesis.txt").exists()
    monkeypatch.chdir(exported[0])
    with pytest.raises(ValueError, match="is the current folder"):
        main([*exported[1][:-1], ".", "--overwrite"])


def test_what_pytorch_cannot_write_is_one_line(exported, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise LookupError("no such operator\nand more")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(RunFailed, match=r"template\.pt2 cannot be written: no such operator$"):
        main([*exported[1][:-1], str(tmp_path / "out"), "--format", "torch"])
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_is_not_there_is_found_before_the_work(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("pysot.cli.export.export", lambda *args: pytest.fail("too late"))
    with pytest.raises(FileNotFoundError, match=r"OTB100\.json"):
        main([*exported[1][:-1], str(tmp_path / "out"), "--score", "OTB100"])


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_line(package, exported, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"to ONNX needs {package}: pip install {package}"):
        main([*exported[1][:-1], str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


def test_a_mask_tracker_without_refinement_is_one_line(tmp_path):
    command = written(tmp_path, MASKS + "TRACK: {INSTANCE_SIZE: 191, TYPE: SiamMaskTracker}\n")
    with pytest.raises(ValueError, match=r"REFINE\.REFINE: a tracker with masks needs it"):
        main([*command, "--output", str(tmp_path / "out")])


class _Heads(torch.nn.Module):
    """Heads of a fork, whose ``forward`` takes the features of both images."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.in_channels, self.anchor_num = kind, 12, 1
        self.cls, self.loc = torch.nn.Conv2d(12, 2, 1), torch.nn.Conv2d(12, 4, 1)

    def forward(self, zf, xf):
        if self.kind == "ours":
            out = xcorr_depthwise(xf, zf)
        else:  # as PySOT's: samples become groups
            flat = xf.view(1, -1, *xf.shape[2:])
            kernel = zf.view(-1, 1, *zf.shape[2:])
            out = torch.nn.functional.conv2d(flat, kernel, groups=kernel.shape[0])
            out = out.view(len(xf), 12, *out.shape[2:])
        return self.cls(out) if self.kind == "alone" else (self.cls(out), self.loc(out))


def test_heads_of_forks_are_exported_or_say_what_they_lack(tmp_path, plugin, caplog, capfd):
    RPN_HEADS["Fork"] = _Heads  # the fixture takes it out again
    for kind in ("ours", "theirs", "alone"):
        text = (
            f"RPN: {{TYPE: Fork, KWARGS: {{kind: {kind}}}}}\n"
            "ANCHOR: {RATIOS: [1], ANCHOR_NUM: 1}\n"
            "TRACK: {INSTANCE_SIZE: 159, TYPE: SiamRPNTracker}\n"
        )
        command = [*written(tmp_path, ALEX + text), "--output", str(tmp_path / kind)]
        if kind == "alone":
            with pytest.raises(ValueError, match="head must return class logits"):
                main(command)
            continue
        main(command)
        record = json.loads((tmp_path / kind / "model.json").read_text())
        assert record["batch"] == (None if kind == "ours" else 1)
        assert ("for one image at a time" in caplog.text) == (kind == "theirs")
    assert "graph(" not in capfd.readouterr().out


def int8(command, *calibrate):
    pairs = [item for name in calibrate for item in ("--calibrate", str(name))]
    return [*command, "--int8", *pairs, "--overwrite"]


def test_int8_leaves_correlation_and_last_convolutions_in_fp32(exported, otb_set, monkeypatch):
    monkeypatch.setattr(calibration, "COUNT", 4)
    folder, command = exported
    arguments = ["--dataset-root", str(otb_set)]
    main([*int8(command, "Tiny", otb_set / "B" / "img"), *arguments])
    record = json.loads((folder / "model.json").read_text())
    assert (record["precision"], record["calibrated_on"]) == ("int8", 4)
    assert max(record["parity"].values()) < 1e-4 < record["int8_errors"]["scores"] < 0.2
    graph = onnx.load(str(folder / "search.onnx")).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    kinds = [made_by.get(n.input[1], "fp32") for n in graph.node if n.op_type == "Conv"]
    # integers: five of the backbone, two of the head; fp32: both correlations, and loc_adjust
    assert kinds.count("DequantizeLinear") == 7 and len(kinds) == 10
    template = onnx.load(str(folder / "template.onnx")).graph
    assert "QuantizeLinear" not in {node.op_type for node in template.node}


def test_logits_are_compared_by_their_own_scale():
    values = np.full((1, 1, 2, 2), 0.01, np.float32)
    assert parity.error_of(values + 1e-5, values) == pytest.approx(1e-3, rel=0.01)
    assert parity.error_of(values + 1e-5, values, 1.0) == pytest.approx(1e-5, rel=0.01)


def test_int8_without_convolutions_is_one_line(exported, otb_set, monkeypatch, tmp_path):
    monkeypatch.setattr(calibration, "COUNT", 1)
    monkeypatch.setattr("pysot.export.quantize._quantized_nodes", lambda graph: [])
    command = int8([*exported[1][:-1], str(tmp_path / "out")], otb_set / "B" / "img")
    with pytest.raises(RunFailed, match="no convolution that may be integers"):
        main(command)
    assert not (tmp_path / "out").exists()


def test_int8_needs_frames(exported, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*exported[1], "--int8"])
    assert "--int8 and --calibrate go together" in capsys.readouterr().err
    command = [*exported[1][:-1], str(tmp_path / "out")]
    with pytest.raises(FileNotFoundError, match="Nowhere"):
        main(int8(command, "Nowhere"))
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "1.png"), np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(ValueError, match="one: there are no two frames to calibrate with"):
        main(int8(command, tmp_path / "one"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # PyTorch takes seconds for each
@pytest.mark.parametrize("system", SYSTEMS)
def test_programs_of_torch_export(system, tmp_path):
    folder = tmp_path / "out"
    main([*written(tmp_path, SYSTEMS[system]), "--output", str(folder), "--format", "torch"])
    record = json.loads((folder / "model.json").read_text())
    assert (record["graphs"], record["search_sizes"]) == ("torch", [191])
    assert {file.rpartition(".")[2] for file in record["files"].values()} == {"pt2"}
    assert max(record["parity"].values()) < 1e-4
    with pytest.raises(ValueError, match="found format 1 with graphs of torch"):
        Tracker.from_onnx(folder)
