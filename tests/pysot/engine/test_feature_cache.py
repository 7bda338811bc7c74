"""Training on kept features: the same losses, and never features of something else."""

import json
import os
import resource
import signal
import threading
import time

import numpy as np
import pytest
import torch
from ranks import run_ranks
from training_crops import boxless_config, mask_configs, tiny_config, write_training_set

from pysot.cli.train import main, parse_args
from pysot.core import StopRequest
from pysot.core.config import load_config
from pysot.datasets.dataset import PairDataset
from pysot.engine import build, cache_builder, feature_cache
from pysot.engine.distributed import ProcessGroup
from pysot.engine.trainer import batches_on
from toolkit.io.files import acquire

VIEWS = ("DATASET.VIEWS.TEMPLATE", "1", "DATASET.VIEWS.SEARCH", "1")
CHANGES = ("DATASET.SEARCH.BLUR", "0.2", "DATASET.GRAY", "0.3")
SLOW = {"LR": {"TYPE": "log", "KWARGS": {"start_lr": 1e-4, "end_lr": 1e-4}}}  # steps of no chaos
CROPS, BLOCK = 6, 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "_MOST_CROPS", BLOCK)
    write_training_set(tmp_path, videos=2)
    return tmp_path


@pytest.fixture
def viewed(monkeypatch):
    """Views that were made, as (video, frame, role)."""
    made, view = [], PairDataset.view

    def note(self, crop, role, number):
        made.append((crop.video, crop.frame, role))
        return view(self, crop, role, number)

    monkeypatch.setattr(PairDataset, "view", note)
    return made


def images(path, *opts, seed=0):
    """Trainer and loader of a run before its first step."""
    cfg = load_config(path, [*VIEWS, *opts])
    trainer = build.build_trainer(cfg, ProcessGroup(), torch.device("cpu"), seed)
    return cfg, trainer, build.build_loader(cfg, trainer)


def cached(folder, *opts, path=None, said=None, stop=None, seed=0):
    cfg, trainer, loader = images(path or tiny_config(folder), *opts, seed=seed)
    say = (said if said is not None else []).append
    stop = StopRequest() if stop is None else stop
    loader = cache_builder.cache_features(cfg, trainer, loader, folder / "f", stop, say)
    return trainer, loader


def losses(trainer, loader, steps):
    found, batches = [], batches_on(trainer.device, loader)
    schedule = loader.batch_sampler
    for epoch in range(schedule.first_epoch, schedule.epochs):
        trainer.begin_epoch(epoch)
        for _ in range(schedule.steps_per_epoch):
            batch = next(batches)
            assert not batch.pop("bad_images")
            found.append(trainer.step([batch])["total_loss"])
            if len(found) == steps:
                return found
    return found


@pytest.mark.parametrize("config", [tiny_config, boxless_config])
def test_losses_are_those_of_training_on_images(folder, config):
    path = config(folder, EPOCH=2, **SLOW)
    plain = losses(*images(path, *CHANGES)[1:], 8)
    kept = losses(*cached(folder, *CHANGES, path=path), 8)
    assert kept == pytest.approx(plain, rel=1e-3)  # also of the second epoch, on images
    assert kept[0] != plain[0]  # of fp16


@pytest.mark.parametrize("stage", ["base", "refine"])
def test_masks_and_the_maps_for_refine_are_kept_too(folder, stage):
    mask_configs(folder)
    path, opts = folder / f"{stage}.yaml", ("BACKBONE.TRAIN_LAYERS", "[]", "TRAIN.EPOCH", "1")
    plain = losses(*images(path, *opts)[1:], 2)
    trainer, loader = cached(folder, *opts, path=path)
    batch = next(iter(loader))
    assert len(batch["template_maps"]) == 1
    assert len(batch["search_maps"]) == (4 if stage == "refine" else 1)
    assert (batch["label_mask"] == 1).any()
    assert losses(trainer, loader, 2) == pytest.approx(plain, rel=1e-3)


def test_an_interrupted_cache_goes_on(folder, viewed):
    stop, said = StopRequest(), []
    made = feature_cache._content

    def stop_soon(*args):
        if len(viewed) > 2 * BLOCK:
            stop.signal = signal.SIGTERM
        return made(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_cache, "_content", stop_soon)
        patch.setattr("pysot.engine.distributed._POLL_SECONDS", 0)
        cached(folder, stop=stop, said=said)
    assert said[-1].startswith("stopped as asked; the same command goes on with")
    before, said = len(viewed), []
    assert before < 2 * CROPS
    whole = cached(folder, said=said)
    assert "1 of 3 blocks are there" in said[-1]
    assert len(viewed) - before == 2 * (CROPS - BLOCK)
    said.clear()
    again = cached(folder, said=said)
    assert said[-1].endswith(", complete")
    assert losses(*again, 2) == losses(*whole, 2)


def only(folder):
    (path,) = (folder / "f").iterdir()
    return path


def test_images_that_have_changed_are_noticed(folder, viewed):
    maps = cached(folder)[1]._cache._maps["search"][0]
    crops = torch.arange(CROPS)
    before, said = maps(crops).clone(), []
    path = folder / "crop511" / "v1" / "000002.00.x.jpg"
    path.write_bytes((folder / "crop511" / "v0" / "000000.00.x.jpg").read_bytes())
    viewed.clear()
    maps = cached(folder, said=said)[1]._cache._maps["search"][0]
    assert "1 of 3 blocks are computed anew: their images have changed" in said
    assert {(video, frame) for video, frame, _ in viewed} == {("v1", 1), ("v1", 2)}
    same = (maps(crops) == before).flatten(1).all(dim=1)
    assert same.tolist() == [True] * 5 + [False]


def test_a_new_box_of_an_image_is_noticed(folder):
    cached(folder)
    notes = json.loads((folder / "train.json").read_text())
    notes["v0"]["00"]["000001"] = [10, 20, 90, 40]
    (folder / "train.json").write_text(json.dumps(notes))
    said = []
    cached(folder, said=said)
    assert "1 of 3 blocks are computed anew: their images have changed" in said


OTHERS = {
    "views": ("DATASET.VIEWS.SEED", "1"),
    "augmentation": ("DATASET.SEARCH.SHIFT", "32"),
    "maps, sizes": ("TRAIN.SEARCH_SIZE", "271"),
    "sets": ("DATASET.MINI.EVERY", "2"),
}


@pytest.mark.parametrize("differs", OTHERS)
def test_a_cache_of_something_else_is_not_used(folder, viewed, differs):
    cached(folder)
    count, said = len(viewed), []
    cached(folder, *OTHERS[differs], said=said)
    assert "f holds 1 cache of something else (" in said[0]
    assert f"differs in {differs}), not used" in said[0]
    assert len(viewed) > count


def test_other_weights_are_another_cache(folder, viewed):
    cached(folder, seed=1)
    count, said = len(viewed), []
    cached(folder, seed=2, said=said)
    assert "differs in weights of the backbone), not used" in said[0]
    assert len(viewed) == 2 * count


def test_a_record_of_something_else_in_its_place_is_not_used(folder, viewed):
    cached(folder)
    record = only(folder) / "record.jsonl"
    first, rest = record.read_text().split("\n", 1)
    record.write_text(json.dumps({**json.loads(first), "views": {}}) + "\n" + rest)
    count, said = len(viewed), []
    cached(folder, said=said)
    assert f"{only(folder)} is a cache of something else (views): all is computed" in said[0]
    assert len(viewed) == 2 * count


def test_files_that_are_not_whole_are_computed_anew(folder):
    first = losses(*cached(folder), 2)
    for name in ("search.0.npy", "template.state.npy", "search.box.npy"):
        (only(folder) / name).unlink()
        assert losses(*cached(folder), 2) == first
    os.truncate(only(folder) / "search.0.npy", 900)
    np.save(only(folder) / "template.0.npy", np.zeros(3))
    assert losses(*cached(folder), 2) == first


def test_what_was_not_recorded_is_not_used(folder, viewed):
    """As a crash leaves it: rows of the last block, a torn line of the record, damage before."""
    first = losses(*cached(folder), 2)
    record = only(folder) / "record.jsonl"
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])
    with (only(folder) / "search.0.npy").open("r+b") as file:
        file.seek(400)
        file.write(bytes(100))
    viewed.clear()
    said = []
    assert losses(*cached(folder, said=said), 2) == first
    assert "1 of 3 blocks are there" in said[-1]
    assert len(viewed) == 2 * 2 * BLOCK
    viewed.clear()
    cached(folder)
    assert not viewed


def test_a_disk_with_too_little_space_is_refused(folder, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    with pytest.raises(ValueError, match=r"needs .* MB more, the disk has 0.0 MB free; take fewer"):
        cached(folder)
    assert not list((folder / "f").rglob("*.npy"))


def test_a_disk_that_gets_full_is_one_line_and_keeps_what_is_there(folder, viewed):
    whole = cached(folder)[1]._cache._layout.arrays()["search.0"].file_bytes
    for path in only(folder).iterdir():
        path.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole - 1, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*search\.0\.npy: File too large"):
            cached(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    viewed.clear()
    cached(folder)
    assert len(viewed) == 2 * BLOCK


def test_without_fixed_views_or_a_frozen_backbone_it_is_refused(folder):
    with pytest.raises(ValueError, match=r"MINI has 1 views as template and 0 as search image; "):
        cached(folder, "DATASET.VIEWS.SEARCH", "0")
    with pytest.raises(ValueError, match=r"never frozen, BACKBONE\.TRAIN_EPOCH is 0"):
        cached(folder, "BACKBONE.TRAIN_EPOCH", "0")


def test_of_two_runs_one_waits_for_the_other(folder, viewed, monkeypatch):
    cached(folder)
    monkeypatch.setattr(cache_builder, "_WAIT_SECONDS", 0.01)
    ours, said, waits = only(folder), [], threading.Event()
    held = acquire(ours / ".lock")
    assert held.__enter__()
    monkeypatch.setattr(cache_builder, "sleep", lambda _: waits.set() or time.sleep(0.01))
    run = threading.Thread(target=cached, args=(folder,), kwargs={"said": said})
    run.start()
    assert waits.wait(20)
    held.__exit__(None, None, None)
    run.join(20)
    assert said[0] == f"{ours}: waiting for another process that computes it"
    assert said[-1].endswith(", complete")


def test_a_run_whose_backbone_learns_already_needs_none(folder):
    cfg, trainer, loader = images(tiny_config(folder))
    trainer.progress.epoch = 1
    loader = build.build_loader(cfg, trainer)
    said = []
    arguments = cfg, trainer, loader, folder / "f", StopRequest(), said.append
    assert cache_builder.cache_features(*arguments) is loader
    assert "from BACKBONE.TRAIN_EPOCH 1 on the backbone learns" in said[0]
    assert not (folder / "f").exists()


def test_another_pair_takes_the_place_of_an_unreadable_image(folder):
    (folder / "crop511" / "v1" / "000002.00.x.jpg").write_bytes(b"no image")
    _, loader = cached(folder, "TRAIN.BATCH_SIZE", "8")
    _, _, plain = images(tiny_config(folder), "TRAIN.BATCH_SIZE", "8")
    for kept, seen in zip(loader, plain, strict=True):
        assert kept["bad_images"] == seen["bad_images"]
        assert torch.equal(kept["bbox"], seen["bbox"])
        assert torch.equal(kept["label_cls"], seen["label_cls"])
    assert any(batch["bad_images"] for batch in loader)


def test_features_beyond_fp16_are_refused(folder):
    with pytest.raises(RuntimeError, match="exceed 65504"):
        level = feature_cache.Level((1, 1, 1), True)
        feature_cache._half(torch.full((1, 1, 1, 1), 1e5), level)


def test_two_processes_share_a_cache(folder):
    options = ["--cfg", str(tiny_config(folder, EPOCH=1, BATCH_SIZE=1, **SLOW)), *VIEWS]
    assert run_ranks(lambda rank: main(options)) == [0, 0]
    plain = epoch_losses(folder)
    assert run_ranks(lambda rank: main([*options, "--cache-features"])) == [0, 0]
    assert len(list((folder / "snapshot" / "features").glob("*/record.jsonl"))) == 1
    assert epoch_losses(folder) == pytest.approx(plain, abs=1e-3)


def epoch_losses(folder):
    lines = (folder / "logs" / "log.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [line["total_loss"] for line in found if line["event"] == "epoch"][-1]


def test_a_key_is_not_taken_for_the_folder(capsys):
    with pytest.raises(SystemExit):
        parse_args(["--cache-features", "TRAIN.EPOCH", "4"])
    assert "TRAIN.EPOCH is a key of the configuration, no folder" in capsys.readouterr().err
    assert parse_args(["TRAIN.EPOCH", "4", "--cache-features"]).cache_features == ""
    assert parse_args([]).cache_features is None
