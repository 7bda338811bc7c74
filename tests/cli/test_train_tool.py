"""tools/train.py on a drawn training set: its files, its errors, and what an interruption costs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_crops import boxless_config, tiny_config, write_benchmark, write_training_set

from pysot.cli import run
from pysot.cli.train import main, parse_args
from pysot.engine.trainer import Trainer
from pysot.utils.model_load import load_weights, read_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    write_training_set(tmp_path)
    return tmp_path


def train(folder, *options, **settings):
    main(["--cfg", str(tiny_config(folder, **settings)), *options])


def fails(folder, capsys, *options, **settings):
    """Run the tool through its door; returns the exit code and the message."""
    with pytest.raises(SystemExit) as exit_:
        run(lambda: train(folder, *options, **settings))
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return exit_.value.code, errors[0]


def final(folder, epoch=3):
    return read_checkpoint(folder / "snapshot" / f"checkpoint_e{epoch}.pth")


def assert_same_end(first, second):
    """Weights, batch-norm buffers and momentum of two checkpoints are the same bits."""
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    momenta = [content["optimizer"]["state"] for content in (first, second)]
    assert len(momenta[0]) == len(momenta[1]) > 0
    for key, state in momenta[0].items():
        assert state.keys() == momenta[1][key].keys()
        assert all(torch.equal(value, momenta[1][key][name]) for name, value in state.items())


def start_process(folder, *options):
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "--cfg"]
    return subprocess.Popen(
        [*command, str(folder / "config.yaml"), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(folder, text, process):
    deadline = time.monotonic() + 120
    log = folder / "logs" / "logs.txt"
    while not (log.exists() and text in log.read_text()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{text!r} never appeared in {log}"
        time.sleep(0.005)


def kill_at(folder, text, *options):
    process = start_process(folder, *options)
    wait_for_line(folder, text, process)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow  # tests/pysot/engine/test_interruption.py does it with forked processes
def test_a_run_killed_twice_ends_with_the_same_weights(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        write_training_set(folder)
        tiny_config(folder)
    uninterrupted = start_process(whole, "TRAIN.NUM_WORKERS", "1")
    kill_at(killed, "Epoch: [1][2/")  # before the first checkpoint
    kill_at(killed, "Epoch: [3][3/", "--resume", "auto")  # beyond the unfreezing of the backbone
    assert not (killed / "snapshot" / "checkpoint_e3.pth").exists()
    resumed = start_process(killed, "--resume", "auto")
    for finished in (uninterrupted, resumed):
        assert finished.wait(timeout=120) == 0, finished.stderr.read()
    assert_same_end(final(whole), final(killed))


def test_a_run_leaves_what_it_promises(folder, capsys):
    train(folder, "TRAIN.EPOCH", "2", "TRAIN.LOG_GRADS", "true")
    out = capsys.readouterr().out
    snapshots = folder / "snapshot"
    assert f"checkpoint: {snapshots / 'checkpoint_e2.pth'}" in out
    assert "minutes" in out
    assert "epoch 2/2: cls " in out
    assert sorted(p.name for p in snapshots.iterdir()) == ["checkpoint_e1.pth", "checkpoint_e2.pth"]
    assert "Epoch: [2][4/4] lr: 0.000500" in (folder / "logs" / "logs.txt").read_text()
    content = final(folder, 2)
    assert (content["epoch"], content["run"]["progress"]["step"]) == (2, 8)


def test_a_head_without_boxes_trains(folder, capsys):
    main(["--cfg", str(boxless_config(folder)), "TRAIN.EPOCH", "1", "TRAIN.LOG_GRADS", "true"])
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("epoch 1/1: cls "))
    assert "total " in line and "loc " not in line
    log = (folder / "logs" / "logs.txt").read_text()
    assert "\tcls_loss: " in log and "loc_loss" not in log
    state = final(folder, 1)["state_dict"]
    assert state["rpn_head.adjust.weight"].item() != 1  # where it starts


@pytest.mark.parametrize("epoch", [1, 2])
def test_resuming_on_either_side_of_the_unfreezing(folder, epoch):
    train(folder)
    expected = final(folder)
    (folder / "snapshot" / "checkpoint_e3.pth").unlink()
    path = folder / "snapshot" / f"checkpoint_e{epoch}.pth"
    train(folder, "--resume", str(path))
    assert_same_end(expected, final(folder))


def test_adamw_with_rates_per_step_goes_on_within_an_epoch(folder, monkeypatch):
    settings = {"OPTIMIZER": "adamw", "LR_PER_STEP": True, "EPOCH": 2, "NUM_WORKERS": 0}
    options = [str(x) for key, value in settings.items() for x in (f"TRAIN.{key}", value)]
    train(folder, *options)
    expected = final(folder, 2)
    for path in (folder / "snapshot").glob("*.pth"):
        path.unlink()

    def stop(trainer, *args):
        if trainer.progress.step == 5:  # the second of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *args)

    step = Trainer.step
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "step", stop)
        train(folder, *options)
    assert len(list((folder / "snapshot").glob("partial_e1_p*.pth"))) == 1
    train(folder, "--resume", "auto", *options)
    assert_same_end(expected, final(folder, 2))


def test_yaml_may_ask_to_resume_and_a_cut_checkpoint_costs_one_epoch(folder, capsys):
    train(folder, "TRAIN.EPOCH", "2")
    os.truncate(folder / "snapshot" / "checkpoint_e2.pth", 500)
    capsys.readouterr()
    train(folder, "TRAIN.EPOCH", "2", RESUME="auto")
    captured = capsys.readouterr()
    assert "trying the one before" in captured.err
    assert "checkpoint_e1.pth, 1 epochs trained" in captured.out
    assert final(folder, 2)["epoch"] == 2


def test_auto_without_a_checkpoint_starts_and_with_the_last_one_has_nothing_to_do(folder, capsys):
    train(folder, "--resume", "auto", "TRAIN.EPOCH", "1")
    assert "starting from the first epoch" in capsys.readouterr().out
    train(folder, "--resume", "auto", "TRAIN.EPOCH", "1")
    assert "nothing to do: 1 of 1 epochs are trained" in capsys.readouterr().out


def test_start_epoch_skips_epochs(folder):
    train(folder, "TRAIN.START_EPOCH", "2")
    assert [p.name for p in (folder / "snapshot").iterdir()] == ["checkpoint_e3.pth"]


def test_the_seed_decides(folder):
    weights = []
    for seed in ("1", "1", "2"):
        train(folder, "--seed", seed, "TRAIN.EPOCH", "1")
        weights.append(final(folder, 1)["state_dict"]["rpn_head.cls.head.0.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_weights_can_be_given(folder):
    train(folder, "TRAIN.EPOCH", "1")
    source = folder / "snapshot" / "checkpoint_e1.pth"
    before = final(folder, 1)["state_dict"]
    slow = ["TRAIN.EPOCH", "1", "TRAIN.BASE_LR", "1e-20", "--seed", "9"]
    backbone = {k[9:]: v for k, v in before.items() if k.startswith("backbone.")}
    torch.save(backbone, folder / "backbone.pth")
    for key, value in (
        ("TRAIN.PRETRAINED", source),
        ("BACKBONE.PRETRAINED", folder / "backbone.pth"),
    ):
        train(folder, *slow, key, str(value), "TRAIN.SNAPSHOT_DIR", str(folder / key))
        found = read_checkpoint(folder / key / "checkpoint_e1.pth")["state_dict"]
        name = "rpn_head.cls.head.3.weight"
        assert torch.equal(found["backbone.layer1.0.weight"], before["backbone.layer1.0.weight"])
        assert torch.equal(found[name], before[name]) == (key == "TRAIN.PRETRAINED")


def test_checkpoints_serve_the_tracker(folder):
    from pysot.core.config import load_config
    from pysot.models.model_builder import build_model

    train(folder, "TRAIN.EPOCH", "1")
    model = build_model(load_config(folder / "config.yaml"))
    load_weights(model, folder / "snapshot" / "checkpoint_e1.pth")


def test_corrupt_images_are_counted_and_named(folder, capsys):
    (folder / "crop511" / "v1" / "000000.00.x.jpg").write_bytes(b"broken")
    train(folder)
    captured = capsys.readouterr()
    assert "1 training images could not be read" in captured.out
    assert "v1/000000.00.x.jpg: no image" in captured.err
    assert final(folder)["run"]["error_budget"]["bad_images"][0].endswith(
        "no image that OpenCV can decode"
    )


def test_too_many_corrupt_images_end_the_run(folder, capsys):
    for path in (folder / "crop511").glob("v[123]/*.jpg"):
        path.write_bytes(b"broken")
    code, message = fails(folder, capsys, "TRAIN.MAX_BAD_IMAGES", "2", "TRAIN.NUM_WORKERS", "1")
    assert code == 2
    assert "2 are allowed (TRAIN.MAX_BAD_IMAGES)" in message


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--resume", "/nowhere.pth"], "checkpoint not found: /nowhere.pth"),
        (["TRAIN.EPOCHS", "3"], "unknown key TRAIN.EPOCHS (did you mean TRAIN.EPOCH?)"),
        (["TRAIN.EPOCH"], "'TRAIN.EPOCH' has no value"),
        (["DEVICE", "cuda:99"], "'cuda:99' is not available"),
        (["DATASET.MINI.ANNO", "/nowhere.json"], "annotations not found: /nowhere.json"),
        (["BACKBONE.TRAIN_LAYERS", "[layer9]"], "no layer 'layer9'"),
        (["TRAIN.SNAPSHOT_DIR", "/dev/null/snapshot"], "/dev/null"),
        (["TRAIN.LOG_DIR", "/dev/null/logs"], "/dev/null"),
        (
            ["TRAIN.BATCH_SIZE", "0"],
            "TRAIN.BATCH_SIZE is 0; expected a whole number from 1 to 65536",
        ),
        (["TRAIN.BATCH_SIZE", "2.5"], "TRAIN.BATCH_SIZE is 2.5; expected a whole number"),
        (["TRAIN.PRINT_FREQ", "0"], "TRAIN.PRINT_FREQ is 0"),
        (["TRAIN.BASE_LR", ".nan"], "TRAIN.BASE_LR is nan; expected a number of 0 or more"),
        (["TRAIN.LR.KWARGS.start_lr", ".nan"], "TRAIN.LR.KWARGS.start_lr is nan"),
        (
            ["TRAIN.LR.TYPE", "linear", "TRAIN.LR.KWARGS.start_lr", "0"],
            "TRAIN.LR.KWARGS: start_lr is 0; expected a number above 0",
        ),
        (["DATASET.SEARCH.SCALE", "1.5"], "DATASET.SEARCH.SCALE is 1.5; expected a number from 0"),
        (["DATASET.NEG", "2"], "DATASET.NEG is 2.0; expected a number from 0 to 1"),
        (["DATASET.MINI.FRAME_RANGE", "-1"], "DATASET.MINI.FRAME_RANGE is -1"),
        (["RPN.LOSS", "centers"], "or RPN.LOSS not the labels of RPN.LABELS 'anchors' (label_cls"),
        (["RPN.LABELS", "centers"], "not the labels of RPN.LABELS 'centers' (label_cls): "),
        (["TRAIN.LOSS_WEIGHTS.iou_loss", "2"], "no loss 'iou_loss'; known: cls_loss, loc_loss"),
        (["TRAIN.LOSS_WEIGHTS.iou_loss", "-1"], "LOSS_WEIGHTS.iou_loss is -1; expected a number"),
        (["ANCHOR.STRIDE", "16"], "are 8 pixels apart; set ANCHOR.STRIDE 8"),
        (["TRAIN.SEARCH_SIZE", "111"], "SEARCH_SIZE 111 and EXEMPLAR_SIZE 127 do not suit"),
        (["TRAIN.EXEMPLAR_SIZE", "9"], "EXEMPLAR_SIZE 9 do not suit the network"),
        (["TRAIN.FROZEN", "[rpn_head]"], "nothing learns in epoch 1: TRAIN.FROZEN ['rpn_head'], B"),
        (
            ["TRAIN.FROZEN", "[rpn_head]", "TRAIN.START_EPOCH", "1", "BACKBONE.LAYERS_LR", "0"],
            "nothing learns in epoch 2",
        ),
        (["TRAIN.BASE_LR", "0"], "TRAIN.BASE_LR 0, BACKBONE.LAYERS_LR"),
        (["TRAIN.CLS_WEIGHT", "0", "TRAIN.LOC_WEIGHT", "0"], "CLS_WEIGHT 0, LOC_WEIGHT 0"),
        (["TRAIN.FROZEN", "[rpn_head]", "BACKBONE.TRAIN_LAYERS", "[]"], "TRAIN_LAYERS [] from"),
    ],
)
def test_wrong_input_is_one_line(folder, capsys, options, text):
    code, message = fails(folder, capsys, *options)
    assert code == 2
    assert text in message


def test_a_head_without_boxes_is_checked_too(folder):
    with pytest.raises(ValueError, match="nothing learns in epoch 1"):  # it has no boxes to learn
        main(["--cfg", str(boxless_config(folder)), "TRAIN.CLS_WEIGHT", "0"])


def test_labels_are_as_wide_as_the_response(folder, capsys):
    train(
        folder,
        "TRAIN.SEARCH_SIZE",
        "239",
        "TRAIN.EPOCH",
        "1",
        "TRAIN.FROZEN",
        "[rpn_head]",
        "BACKBONE.TRAIN_EPOCH",
        "0",
    )
    assert final(folder, 1)["epoch"] == 1
    text = (
        "TRAIN.OUTPUT_SIZE is 17, but the network's response is 15 x 15 for TRAIN.SEARCH_SIZE 239"
    )
    assert text in capsys.readouterr().err


def test_options_of_pysot_are_accepted():
    args = parse_args(["--local-rank=0", "--cfg", "a.yaml", "A.B", "-1", "--seed", "3", "C", "2"])
    assert (args.config, args.seed, args.opts) == ("a.yaml", 3, ["A.B", "-1", "C", "2"])
    assert parse_args(["--local_rank", "1"]).config == "config.yaml"
    assert parse_args([]).seed == 123456


def test_the_best_tracker_of_those_tested_is_kept(folder, capsys):
    write_benchmark(folder / "Tiny")
    tests = ["--val", "Tiny", "--val-every", "2", "--val-root", str(folder / "Tiny")]
    train(folder, *tests)
    out = capsys.readouterr().out
    assert "epoch 1 on Tiny" not in out
    lines = [json.loads(x) for x in (folder / "logs" / "log.jsonl").read_text().splitlines()]
    scores = {x["epoch"]: x["success"] for x in lines if x["event"] == "validation"}
    assert list(scores) == [2, 3]  # every second, and the last
    best = json.loads((folder / "snapshot" / "best.json").read_text())
    assert (best["metric"], best["value"]) == ("success", max(scores.values()))
    assert scores[best["epoch"]] == best["value"]
    assert best["checkpoint"] == f"checkpoint_e{best['epoch']}.pth"
    kept = read_checkpoint(folder / "snapshot" / "checkpoint_best.pth")
    assert kept["epoch"] == best["epoch"]
    assert f"best success {best['value']:.3f} after epoch {best['epoch']}" in out
    with (folder / "logs" / "val" / "e0003.json").open() as file:
        assert json.load(file)["trackers"]["e0003"]["metrics"]["success"] == scores[3]


def test_a_benchmark_that_is_not_there_is_found_before_the_training(folder, capsys):
    code, message = fails(folder, capsys, "--val", "Nowhere")
    assert code == 2
    assert "Nowhere.json" in message
    assert not (folder / "snapshot").exists()
