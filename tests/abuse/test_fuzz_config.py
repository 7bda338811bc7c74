"""Configurations that are wrong: YAML files and overrides."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import sets
import torch
import yaml
from harness import ONE, Trial, generators
from mutations import evil, mutated, mutated_text

from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.tracker_builder import build_tracker

pytestmark = pytest.mark.abuse

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "experiments").glob("*/config.yaml"))
KEYS = ("TRACK.LR", "TRACK", "", "A..B", "TRAIN.LR.KWARGS", "ANCHOR.SCALES")
BOMBS = {
    "aliases": "a0: &a0 [1, 1]\n"
    + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
    "a loop": "TRACK: &a {TYPE: *a}\n",
    "a loop in keywords": "BACKBONE: {KWARGS: &a {used_layers: [*a]}}\n",
    "lists": "TRACK: " + "[" * 20000 + "\n",
    "mappings": "TRACK: " + "{a: " * 20000 + "\n",
    "indents": "".join(" " * i + "a:\n" for i in range(1500)),
    "digits": "TRACK: {LR: " + "9" * 5000 + "}\n",
    "base 60": "TRACK: {LR: " + "59:" * 3000 + "1}\n",
    "a python object": "TRACK: !!python/object/apply:os.system ['true']\n",
    "a date": "TRACK: {LR: 2020-13-45}\n",
    "a list as key": "? [a, b]\n: 1\n",
    "a mapping as key": "? {a: b}\n: 1\n",
    "a null key": "~: 1\nTRACK: {~: 1}\n",
    "two documents": "---\na: 1\n---\nb: 2\n",
    "no text": "\x00\x01\x02",
    "a tab": "TRACK:\n\tLR: 1\n",
    "binary": "TRACK: {LR: !!binary gIGC}\n",
    "a set": "TRACK: !!set {LR, TYPE}\n",
    "pairs": "TRACK: !!pairs [LR: 1, LR: 2]\n",
}


def check_loaded(cfg):
    assert all(map(math.isfinite, sets.numbers(cfg)))
    yaml.safe_dump(plain(cfg))  # nothing in it that no YAML has


def plain(value):
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def write(path, content, rng):
    """A document as YAML, perhaps with its text changed."""
    data = dumped(content).encode("utf-8", "replace")
    path.write_bytes(mutated_text(data, rng) if rng.random() < 0.2 else data)


def dumped(content):
    try:
        return yaml.dump(content, Dumper=yaml.CSafeDumper)
    except UnicodeEncodeError:
        return json.dumps(content)  # JSON is YAML


def part(document, rng):
    """Some sections of a document: short files are read quickly."""
    names = rng.sample(sorted(document), min(4, len(document)))
    return {name: document[name] for name in names}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(BOMBS[name])
    with Trial(f"bomb {name}", tmp_path) as trial:
        assert trial.run(0, lambda: load_config(path)) is None


def test_published_configurations_changed(tmp_path):
    path, documents = tmp_path / "config.yaml", [yaml.safe_load(p.read_text()) for p in PUBLISHED]
    with Trial("published", tmp_path) as trial:
        for number, rng in generators("published"):
            write(path, mutated(part(rng.choice(documents), rng), rng), rng)
            opts = [rng.choice(KEYS), str(evil(rng))] if rng.random() < 0.2 else []
            cfg = trial.run(number, lambda opts=opts: load_config(path, opts))
            if cfg is not None:
                check_loaded(cfg)
    assert ONE or (trial.accepted and trial.refused)


def test_networks_and_trackers_of_changed_configurations(tiny_config, draw_frame, tmp_path):
    document = yaml.safe_load(tiny_config.read_text())
    document["TRACK"].update(EXEMPLAR_SIZE=127, INSTANCE_SIZE=255, CONTEXT_AMOUNT=0.5)
    document["ANCHOR"] = {"STRIDE": 8, "RATIOS": [0.33, 0.5, 1, 2, 3], "SCALES": [8]}
    document["BACKBONE"]["PRETRAINED"] = ""
    path = tmp_path / "config.yaml"
    frames = [draw_frame((20 + 3 * i, 15, 24, 18), seed=i) for i in range(2)]

    def track():
        cfg = load_config(path)
        tracker = build_tracker(build_model(cfg).eval(), cfg)
        tracker.init(frames[0], (20, 15, 24, 18))
        return tracker.track(frames[1])

    with Trial("network", tmp_path) as trial:
        for number, rng in generators("network", share=2):
            write(path, mutated(document, rng), rng)
            torch.manual_seed(0)
            found = trial.run(number, track)
            if found is not None and not np.isfinite(found["bbox"]).all():
                trial.fault(number, "a box that is not finite")
    assert ONE or (trial.accepted and trial.refused)
