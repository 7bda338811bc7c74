"""Checkpoints that are damaged, or hold something else than they should."""

import io
import json
import math
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from harness import ONE, Trial, generators
from mutations import NAMES, NUMBERS, evil, mutated, mutated_bytes
from training_crops import tiny_config, write_training_set

from pysot.cli.train import main
from pysot.core.config import load_config
from pysot.engine import build
from pysot.engine.checkpoint import whole_checkpoints
from pysot.engine.distributed import ProcessGroup
from pysot.models.model_builder import build_model
from pysot.utils.model_load import load_weights, read_checkpoint

pytestmark = pytest.mark.abuse


class Code:
    """Runs something when it is unpickled."""

    def __reduce__(self):
        return (open, ("ran.txt", "w"))


def evil_value(rng):
    """Tensors and numbers that hardly any field of a checkpoint expects."""
    kinds = (
        lambda: torch.full((rng.choice((0, 1, 3)),), rng.choice((math.nan, math.inf, 1e30))),
        lambda: torch.zeros(rng.choice(((), (2, 3), (1, 1, 1, 1)))),
        lambda: torch.zeros(4, dtype=rng.choice((torch.int64, torch.complex64, torch.bool))),
        lambda: torch.zeros(3).to_sparse(),
        lambda: torch.zeros(3, device="meta"),
        lambda: np.float64(rng.choice((1.5, math.nan))),
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice(NAMES),
        lambda: evil(rng),
    )
    return rng.choice(kinds)()


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def torn(content, rng):
    """A checkpoint as bytes: a changed document, a changed file, or something else at all."""
    action = rng.random()
    if action < 0.65:
        return saved(mutated(content, rng, evil=lambda rng: evil_value(rng)))
    if action < 0.95:
        return mutated_bytes(saved(content), rng)
    other = (b"", b"text", pickle.dumps(content), pickle.dumps(Code()), saved([1]), saved(Code()))
    return rng.choice(other)


def test_weights(tiny_config, tmp_path):
    torch.manual_seed(0)
    cfg = load_config(tiny_config)
    model = build_model(cfg)
    weights = {"state_dict": model.state_dict(), "epoch": 3}
    path = tmp_path / "in" / "model.pth"
    path.parent.mkdir()
    with Trial("weights", tmp_path, ["in"]) as trial:
        for number, rng in generators("weights"):
            path.write_bytes(torn(rng.choice((weights, weights["state_dict"])), rng))
            found = trial.run(number, lambda: load_weights(model, path))
            if found is not None and any(v.is_meta for v in model.state_dict().values()):
                trial.fault(number, "weights without values")
    assert ONE or (trial.accepted and trial.refused)


def torn_safetensors(weights, rng):
    """A safetensors file as bytes: other tensors, another card, or a changed file."""
    weights = dict(weights)
    card = {"sha256": rng.choice(("", "0" * 64)), "config": {"TRACK": {"LR": 0.2}}}
    for _ in range(rng.randrange(3)):
        value = evil_value(rng)
        if torch.is_tensor(value) and value.layout == torch.strided and not value.is_meta:
            weights[rng.choice([*weights, *map(str, NAMES)])] = value
    try:
        texts = (json.dumps(card), json.dumps(mutated(card, rng), default=str), str(evil(rng)))
        metadata = rng.choice((None, {}, *({"card": text} for text in texts)))
        content = safetensors.torch.save(weights, metadata)
    except Exception:  # names and texts that no such file can hold
        content = safetensors.torch.save({})
    return mutated_bytes(content, rng) if rng.random() < 0.5 else content


def test_safetensors(tiny_config, tmp_path):
    torch.manual_seed(0)
    model = build_model(load_config(tiny_config))
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    path = tmp_path / "in" / "model.safetensors"
    path.parent.mkdir()
    with Trial("safetensors", tmp_path, ["in"]) as trial:
        for number, rng in generators("safetensors", share=4):
            path.write_bytes(torn_safetensors(weights, rng))
            trial.run(number, lambda: load_weights(model, path))
            trial.run(number, lambda: load_config(path))
    assert ONE or (trial.accepted and trial.refused)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The configuration and a checkpoint of a run that is not over."""
    folder = tmp_path_factory.mktemp("run")
    write_training_set(folder)
    options = ["TRAIN.EPOCH", "2", "TRAIN.EMA", "0.9", "DATASET.VIDEOS_PER_EPOCH", "4"]
    path = tiny_config(folder)
    main(["--cfg", str(path), *options, "TRAIN.EPOCH", "1"])
    return load_config(path, options), read_checkpoint(folder / "snapshot" / "checkpoint_e1.pth")


def test_runs_that_are_resumed(run, tmp_path):
    cfg, content = run
    path = tmp_path / "in" / "checkpoint_e1.pth"
    path.parent.mkdir()
    group = ProcessGroup()

    def resume():
        trainer = build.build_trainer(cfg, group, torch.device("cpu"), 1)
        build.load_start(cfg, trainer, str(path))
        build.build_loader(cfg, trainer)
        return trainer

    with Trial("resume", tmp_path, ["in"]) as trial:
        for number, rng in generators("resume", share=2):
            path.write_bytes(torn(content, rng))
            trainer = trial.run(number, resume)
            if trainer is None:
                continue
            counts = vars(trainer.progress).values()
            if not all(type(n) is int and 0 <= n < 2**53 for n in counts):
                trial.fault(number, "a counter that is none", str(list(counts)))
    assert ONE or (trial.accepted and trial.refused)


def test_the_one_before_a_wrong_checkpoint_is_found(run, tmp_path):
    _, content = run
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "checkpoint_e1.pth").write_bytes(saved(content))
    newest = folder / "checkpoint_e2.pth"
    with Trial("auto", tmp_path, ["in"]) as trial:
        for number, rng in generators("auto", share=5):
            newest.write_bytes(mutated_bytes(saved(content), rng))
            found = trial.run(number, lambda: next(whole_checkpoints(folder), None))
            if found is None:
                trial.fault(number, "no checkpoint is found")
