"""Result files that are wrong, in all layouts."""

import shutil

import pytest
import sets
from harness import ONE, Trial, generators
from mutations import mutated_bytes, mutated_text
from test_fuzz_datasets import check_scores

from pysot.cli import eval as tool

pytestmark = pytest.mark.abuse

LAYOUTS = {
    "flat": "Own",
    "vot": "VOT2018",
    "longterm": "VOT2018-LT",
    "got10k": "GOT-10k",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_boxes(tmp_path, layout):
    name = LAYOUTS[layout]
    root, results, out = tmp_path / "in", tmp_path / "results", tmp_path / "out"
    document = sets.records(root)
    sets.write_results(root, document, name, results)
    (root / f"{name}.json").write_text(sets.json.dumps(document))
    files = {p: p.read_bytes() for p in sorted(results.rglob("*.*")) if p.name[0] != "."}
    with Trial(f"results {layout}", tmp_path, ["out", "results"]) as trial:
        for number, rng in generators(layout, share=3):
            for path, data in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(mutated_text(data, rng) if rng.random() < 0.4 else data)
            path = rng.choice(list(files))
            damage(path, rng)
            argv = ["-p", str(results), "-d", name, "--dataset-root", str(root)]
            argv += rng.choice(
                ([], ["--csv", str(out / "s.csv")], ["--incomplete", "skip"], ["-s"])
            )
            trial.run(number, lambda argv=argv: tool.main([*argv, "--json", str(out / "s.json")]))
            if (out / "s.json").exists():
                check_scores(trial, number, out / "s.json")
                shutil.rmtree(out)
            shutil.rmtree(results)
    assert ONE or trial.accepted


def damage(path, rng):
    """A file in place of which there is nothing, a folder, a link to itself, or any bytes."""
    action = rng.randrange(10)
    if action < 4:
        path.unlink()
    if action == 0:
        path.mkdir()
    elif action == 1:
        path.symlink_to(path)
    elif action == 2:
        path.write_bytes(bytes(rng.randrange(256) for _ in range(100)))
    elif action == 3:
        path.with_name(rng.choice((f"{path.name}~", "x.txt", path.name.upper()))).write_text("1\n")


def test_masks(tmp_path):
    from toolkit.io.images import write_labels

    root, results, out = tmp_path / "in", tmp_path / "results", tmp_path / "out"
    names = sets.write_frames(root)
    document = sets.records(root)
    for video, images in names.items():
        masks = [name.replace("img", "mask").replace(".jpg", ".png") for name in images]
        for i, (name, mask) in enumerate(zip(images, masks, strict=True)):
            x, y, w, h = sets.BOXES[i]
            labels = sets.np.zeros((30, 40), "u1")
            labels[y : y + h, x : x + w] = 1
            stem = name.rpartition("/")[2].replace(".jpg", ".png")
            (root / mask).parent.mkdir(exist_ok=True)
            write_labels(root / mask, labels)
            write_labels(results / "DAVIS2017" / "still" / video / stem, labels)
        document[video]["mask_names"] = masks
    (root / "DAVIS2017.json").write_text(sets.json.dumps(document))
    files = {p: p.read_bytes() for p in sorted(results.rglob("*.png"))}
    argv = ["-p", str(results), "-d", "DAVIS2017", "--dataset-root", str(root)]
    argv += ["--json", str(out / "s.json")]
    with Trial("results masks", tmp_path, ["out", "results"]) as trial:
        for number, rng in generators("masks", share=5):
            for path, data in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(mutated_bytes(data, rng) if rng.random() < 0.3 else data)
            damage(rng.choice(list(files)), rng)
            trial.run(number, lambda: tool.main(argv))
            if (out / "s.json").exists():
                check_scores(trial, number, out / "s.json")
                shutil.rmtree(out)
            shutil.rmtree(results)
    assert ONE or trial.accepted
