"""Data sets whose files are wrong: benchmarks in JSON or CSV, annotations to train on."""

import csv
import io
import json
import math
import os
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import sets
from harness import ONE, Trial, generators
from mutations import NAMES, NUMBERS, mutated, mutated_text
from training_crops import tiny_config, write_training_set

from pysot.cli import check, prepare
from pysot.cli import eval as eval_tool
from pysot.cli import test as test_tool
from pysot.core.config import load_config
from pysot.datasets.build import build_train_dataset
from toolkit.datasets import Dataset

pytestmark = pytest.mark.abuse

BENCHMARKS = ("Own", "Own", "OTB100", "VOT2018", "VOT2018-LT", "GOT-10k", "LaSOT")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders: ``in`` of the input, ``out`` for results, ``cwd``, which is the current one."""
    for name in ("in", "cwd"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "in", tmp_path / "out"


def fresh(out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()


def dumped(document, rng):
    """A document as JSON, sometimes with its text changed."""
    data = json.dumps(document).encode()
    return mutated_text(data, rng) if rng.random() < 0.25 else data


def checked(trial, number, root, out, name):
    argv = ["--dataset", name, "--root", str(root), "--output", str(out / f"{name}.json")]
    options = ["--check-images"] if number % 2 else []
    trial.run(number, lambda: check.main([*argv, *options]))
    if (out / f"{name}.json").exists():  # what it wrote can be read
        for video in Dataset(name, out):
            if not np.isfinite(video.boxes[0]).all():
                trial.fault(number, "a set with a first box that is none")


def tracked(trial, number, root, out, name):
    argv = ["--dataset", name, "--dataset-root", str(root), "--static", "--output", str(out)]
    trial.run(number, lambda: test_tool.main(argv))
    for path in out.rglob("*.txt"):
        if any(word in path.read_text().lower() for word in ("nan", "inf")):
            trial.fault(number, "a result that is not finite", path.read_text()[:200])


def scored(trial, number, root, out, name):
    written = out / "scores.json"
    argv = ["-p", str(root.parent / "results"), "-d", name, "--dataset-root", str(root)]
    trial.run(number, lambda: eval_tool.main([*argv, "--json", str(written)]))
    if written.exists():
        check_scores(trial, number, written)


def check_scores(trial, number, path):
    for tracker in sets.strict_json(path)["trackers"].values():
        if any(not -1e-9 <= value <= 1 + 1e-9 for value in metrics_of(tracker)):
            trial.fault(number, "a score outside 0 to 1", str(tracker["metrics"]))


def metrics_of(tracker):
    known = {k: v for k, v in tracker["metrics"].items() if k not in ("robustness", "lost_number")}
    return sets.numbers(known)


def test_benchmarks_in_json(places, tmp_path):
    root, out = places
    document = sets.records(root)
    for name in set(BENCHMARKS):
        sets.write_results(root, document, name, tmp_path / "results")
    with Trial("dataset", tmp_path, ["in", "out"]) as trial:
        for number, rng in generators("dataset"):
            name, door = rng.choice(BENCHMARKS), rng.choice((checked, tracked, scored))
            path = root / f"{name}.json"
            path.write_bytes(dumped(mutated(document, rng), rng))
            fresh(out)
            before = set(os.listdir(root))
            door(trial, number, root, out, name)
            if set(os.listdir(root)) != before:
                trial.fault(number, "writes beside the data")
            path.unlink()
    assert ONE or (trial.accepted and trial.refused)


def prepared(trial, number, root, out):
    """Prepare a set of one's own; all that is written has a finite box and a crop."""
    fresh(out)
    argv = ["own", "--root", str(root), "--output", str(out), "--workers", "1"]
    trial.run(number, lambda: prepare.main([*argv, *(["--check"] if number % 3 == 0 else [])]))
    if not (out / "train.json").exists():
        return
    written = sets.strict_json(out / "train.json")
    if not all(map(math.isfinite, sets.numbers(written))):
        trial.fault(number, "a box that is not finite")
    crops = {str(path.relative_to(out / "crop511")) for path in out.rglob("*.x.jpg")}
    named = {
        os.path.normpath(f"{video}/{frame}.{track}.x.jpg")
        for video, tracks in written.items()
        for track, frames in tracks.items()
        for frame in frames
    }
    if named != crops:
        trial.fault(number, "crops differ from train.json", str(sorted(named ^ crops)[:3]))


def test_annotations_of_coco(places, tmp_path):
    root, out = places
    document = sets.coco(root)
    with Trial("coco", tmp_path, ["out"]) as trial:
        for number, rng in generators("coco"):
            (root / "set.json").write_bytes(dumped(mutated(document, rng), rng))
            prepared(trial, number, root / "set.json", out)
    assert ONE or (trial.accepted and trial.refused)


def mutated_xml(data, rng):
    """An XML file with elements replaced, deleted, doubled or renamed, or its text changed."""
    if rng.random() < 0.4:
        return mutated_text(data, rng)
    tree = ElementTree.fromstring(data)
    for _ in range(rng.randint(1, 3)):
        parent = rng.choice([item for item in tree.iter() if len(item)] or [tree])
        if not len(parent):
            break
        child = rng.choice(list(parent))
        action = rng.randrange(4)
        if action == 0:
            parent.remove(child)
        elif action == 1:
            parent.append(child)
        elif action == 2:
            child.text = printable(rng.choice((*map(str, NUMBERS), *NAMES)))
        else:
            child.tag = rng.choice(("object", "bndbox", "size", "x", "filename", "name"))
    return ElementTree.tostring(tree)


def printable(text):
    """Text that XML may hold."""
    return "".join(c for c in text if c.isprintable())


def test_annotations_of_voc(places, tmp_path):
    root, out = places
    texts = sets.voc(root)
    bombs = {
        "laughs": '<!DOCTYPE a [<!ENTITY a0 "x">'
        + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
        + "]><annotation>&a11;</annotation>",
        "outside": '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>',
        "deep": "<a>" * 20000,
    }
    with Trial("voc", tmp_path, ["out"]) as trial:
        for number, rng in generators("voc"):
            for name, text in texts.items():
                changed = rng.random() < 0.6
                (root / name).write_bytes(mutated_xml(text, rng) if changed else text)
            if rng.random() < 0.05:
                (root / name).write_text(rng.choice(list(bombs.values())))
            prepared(trial, number, root, out)
    assert ONE or (trial.accepted and trial.refused)


def mutated_csv(data, rng):
    """A table with cells, columns and lines changed."""
    if rng.random() < 0.4:
        return mutated_text(data, rng)
    rows = mutated(list(csv.reader(data.decode().splitlines())), rng)
    text = io.StringIO()
    for row in rows if isinstance(rows, list) else [[rows]]:
        csv.writer(text).writerow(row if isinstance(row, (list, dict)) else [row])
    return text.getvalue().encode("utf-8", "surrogatepass")


def test_tables_in_csv(places, tmp_path):
    root, out = places
    (root / "train").mkdir()
    training, testing = sets.csv_for_training(root / "train"), sets.csv_for_testing(root)
    with Trial("csv", tmp_path, ["out"]) as trial:
        for number, rng in generators("csv"):
            if rng.random() < 0.5:
                (root / "train" / "set.csv").write_bytes(mutated_csv(training, rng))
                prepared(trial, number, root / "train" / "set.csv", out)
            else:
                (root / "mine.csv").write_bytes(mutated_csv(testing, rng))
                fresh(out)
                checked(trial, number, root, out, "mine")
    assert ONE or (trial.accepted and trial.refused)


def test_boxes_in_folders_of_videos(places, tmp_path):
    """Text files of ground truth, trained on and tested on."""
    root, out = places
    sets.write_frames(root, "{video}/{number:04d}.jpg")
    right = "\n".join(",".join(map(str, box)) for box in sets.BOXES).encode() + b"\n"
    with Trial("folders", tmp_path, ["out"]) as trial:
        for number, rng in generators("folders"):
            for video in sets.NAMES:
                text = mutated_text(right, rng) if video == "a" or rng.random() < 0.5 else right
                (root / video / "groundtruth.txt").write_bytes(text)
            if rng.random() < 0.5:
                prepared(trial, number, root, out)
            else:
                fresh(out)
                checked(trial, number, root, out, "mine")
    assert ONE or (trial.accepted and trial.refused)


def test_annotations_to_train_on(places, tmp_path):
    root, _ = places
    document = write_training_set(root)
    categories = {video: {"00": "thing"} for video in document}
    cfg = load_config(tiny_config(root))

    def draw():
        dataset = build_train_dataset(cfg, seed=1)
        return [dataset[index] for index in range(2)]

    with Trial("train.json", tmp_path) as trial:
        for number, rng in generators("train.json"):
            (root / "train.json").write_bytes(dumped(mutated(document, rng), rng))
            (root / "train.categories.json").unlink(missing_ok=True)
            if rng.random() < 0.3:
                content = dumped(mutated(categories, rng), rng)
                (root / "train.categories.json").write_bytes(content)
            found = trial.run(number, draw)
            for sample in found or ():
                arrays = [value for value in sample.values() if isinstance(value, np.ndarray)]
                if not all(np.isfinite(array).all() for array in arrays):
                    trial.fault(number, "a sample that is not finite")
    assert ONE or (trial.accepted and trial.refused)
