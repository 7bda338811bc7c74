"""Record what every tool writes, so that two versions of the code can be compared byte by byte.

    python tests/record_outputs.py CHECKOUT DATA OUT
    diff -r OUT_OF_ONE_VERSION OUT_OF_ANOTHER

CHECKOUT is the version to run, with compiled extensions; the interpreter is this one's. DATA holds
``synthetic/crop511`` and ``synthetic/train.json`` (training set), ``Synthetic`` (benchmark),
``models/*.pth``, and, if wanted, ``shared``, a folder of real sequences and results. Times and
paths are left out of what is recorded; of a checkpoint, the SHA-256 of each tensor is kept.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import torch

CHECKOUT, DATA, OUT = (Path(argument).resolve() for argument in sys.argv[1:4])
CONFIGS = CHECKOUT / "experiments"
SHARED = DATA / "shared"
TIMED = re.compile(
    r" *\d+(\.\d+)?(e-\d+)? ?(s|fps|frames?/s|ms|minutes|pairs/s|steps?/s)\b|\d+:\d\d\b|\d+%"
)
SYSTEMS = ("siamfc_alex_tiny", "siamrpn_alex_tiny", "dasiamrpn_alex_tiny", "siamrpn_r18_tiny",
           "siammask_r18_tiny_base", "siammask_r18_tiny")  # fmt: skip


def run(name: str, script: str, *args: object) -> None:
    """Run a script of the checkout in ``OUT`` and keep what it prints as ``<name>.txt``."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(CHECKOUT / script), *map(str, args)]
    done = subprocess.run(command, cwd=OUT, env=environment, capture_output=True, text=True)
    text = f"{done.stdout}\n--- exit {done.returncode}\n{done.stderr.splitlines()[-1:]}"
    for place in (CHECKOUT, OUT, DATA):
        text = text.replace(str(place), place.name if place == DATA else "")
    (OUT / f"{name}.txt").write_text(TIMED.sub(" TIME", text))


def train() -> None:
    """Four steps in two epochs of every small system."""
    for name in SYSTEMS:
        pretrained = ["TRAIN.PRETRAINED", DATA / "models/siammask_r18_tiny_base.pth"]
        run(f"train_{name}", "tools/train.py", "--cfg", CONFIGS / name / "config.yaml",
            "DATASET.SYNTHETIC.ROOT", DATA / "synthetic/crop511",
            "DATASET.SYNTHETIC.ANNO", DATA / "synthetic/train.json",
            "DATASET.VIDEOS_PER_EPOCH", 16, "TRAIN.BATCH_SIZE", 8, "TRAIN.EPOCH", 2,
            "TRAIN.NUM_WORKERS", 0, "TRAIN.LOG_DIR", f"logs/{name}", "DEVICE", "cpu",
            "TRAIN.SNAPSHOT_DIR", f"snapshot/{name}",
            *(pretrained if name == "siammask_r18_tiny" else []))  # fmt: skip
        checkpoint = OUT / f"snapshot/{name}/checkpoint_e2.pth"
        content = torch.load(checkpoint, weights_only=False)
        hashes = dict(_hashes({key: content[key] for key in ("epoch", "state_dict", "optimizer")}))
        (OUT / f"checkpoint_{name}.json").write_text(json.dumps(hashes, indent=1))
    shutil.rmtree(OUT / "snapshot")
    shutil.rmtree(OUT / "logs")


def _hashes(value: object, path: str = ""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _hashes(item, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _hashes(item, f"{path}/{index}")
    elif isinstance(value, torch.Tensor):
        yield path, hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    else:
        yield path, repr(value)


def mini_sets() -> None:
    """Sets of two short videos under the names of benchmarks with other protocols."""
    videos = json.loads((DATA / "Synthetic/SyntheticMasks.json").read_text())
    root = OUT / "testing_dataset"
    root.mkdir()
    for name in ("VOT2018", "VOT2018-LT", "GOT-10k", "DAVIS2016", "LaSOT", "OTB100"):
        mini = {}
        for video in ("Occlusion1", "FastMotion1"):
            fields = videos[video]
            mini[video] = {k: v[:30] if isinstance(v, list) and len(v) > 4 else v
                           for k, v in fields.items()}  # fmt: skip
            if name == "LaSOT":
                mini[video]["absent"] = [1] * 30
        (root / f"{name}.json").write_text(json.dumps(mini))
    for video in ("Occlusion1", "FastMotion1"):
        (root / video).symlink_to(DATA / "Synthetic" / video)


def test_and_score() -> None:
    """Every protocol with every system, and the tables made of the results."""
    mini_sets()
    sets = ("OTB100", "LaSOT", "GOT-10k", "VOT2018", "VOT2018-LT", "DAVIS2016")
    for benchmark in sets:
        for name in SYSTEMS[:1] + SYSTEMS[1:2] if benchmark != "DAVIS2016" else SYSTEMS[-1:]:
            run(f"test_{benchmark}_{name}", "tools/test.py", "--dataset", benchmark,
                "--dataset-root", "testing_dataset", "--config", CONFIGS / name / "config.yaml",
                "--snapshot", DATA / f"models/{name}.pth", "DEVICE", "cpu")  # fmt: skip
        run(f"static_{benchmark}", "tools/test.py", "--dataset", benchmark, "--static",
            "--dataset-root", "testing_dataset", "--workers", 2)  # fmt: skip
        run(f"eval_{benchmark}", "tools/eval.py", "-p", "results", "-d", benchmark, "-s", "--json",
            f"{benchmark}.json", "--csv", f"{benchmark}.csv", "--latex", f"{benchmark}.tex",
            "--dataset-root", "testing_dataset", "--bootstrap", 50, "--num", 2)  # fmt: skip
    for name in SYSTEMS:
        run(f"test_Synthetic_{name}", "tools/test.py", "--dataset", "Synthetic", "--config",
            CONFIGS / name / "config.yaml", "--snapshot", DATA / f"models/{name}.pth",
            "--dataset-root", DATA / "Synthetic", "--video", "Deformation1",
            "DEVICE", "cpu")  # fmt: skip
    run("submission", "tools/make_submission.py", "-p", "results", "-d", "GOT-10k", "-t", "static",
        "--dataset-root", "testing_dataset", "--output", "got10k.zip")  # fmt: skip
    name = "siamrpn_alex_tiny"
    run("search", "tools/hp_search.py", "--dataset", "VOT2018", "--dataset-root", "testing_dataset",
        "--config", CONFIGS / name / "config.yaml", "--snapshot", DATA / f"models/{name}.pth",
        "--penalty-k", "0.05,0.2,0.1", "--lr", "0.3", "--window-influence", "0.4")  # fmt: skip
    run("pairs", "tools/visualize_dataset.py", "--cfg", CONFIGS / name / "config.yaml",
        "DATASET.SYNTHETIC.ROOT", DATA / "synthetic/crop511",
        "DATASET.SYNTHETIC.ANNO", DATA / "synthetic/train.json")  # fmt: skip
    run("demo", "tools/demo.py", "--config", CONFIGS / name / "config.yaml", "--snapshot",
        DATA / f"models/{name}.pth", "--video", DATA / "Synthetic/FastMotion1/img", "--init-rect",
        "22,154,45,48", "--json", "demo.json", "--output", "demo.mp4")  # fmt: skip


def real_data() -> None:
    """Published results scored, real folders checked and prepared, the static box over DAVIS."""
    for benchmark in ("OTB100", "VOT2018", "VOT2019", "DTB70", "UAV123_10fps"):
        with tarfile.open(SHARED / f"results/{benchmark}.tar.xz") as archive:
            archive.extractall(OUT / "published", filter="data")
        run(f"published_{benchmark}", "tools/eval.py", "-p", "published", "-d", benchmark, "-s",
            "--dataset-root", SHARED / f"benchmarks/{benchmark}", "--json",
            f"published_{benchmark}.json", "--csv", f"published_{benchmark}.csv")  # fmt: skip
    shutil.rmtree(OUT / "published")
    davis = SHARED / "sequences/davis2016_val"
    run("static_DAVIS_rect", "tools/test.py", "--dataset", "DAVIS_rect", "--dataset-root", davis,
        "--static")  # fmt: skip
    run("prepare_own", "training_dataset/own/prepare.py", "--root", davis / "JPEGImages/480p",
        "--masks", davis / "Annotations/480p", "--output", "davis", "--every", 20,
        "--test-videos", "blackswan", "camel", "--workers", 2)  # fmt: skip
    run("check_own", "training_dataset/own/prepare.py", "--root", davis / "JPEGImages/480p",
        "--masks", davis / "Annotations/480p", "--output", "davis_check",
        "--check", "--workers", 1)  # fmt: skip
    stills = SHARED / "stills/imagenet_320_masks/boxes.json"
    run("check_coco", "training_dataset/own/prepare.py", "--root", stills, "--output", "stills",
        "--check", "--workers", 1)  # fmt: skip
    voc = next(SHARED.glob("stills/raccoon/**/*.xml")).parent
    run(
        "prepare_voc",
        "training_dataset/own/prepare.py",
        "--root",
        voc,
        "--output",
        "raccoon",
        "--workers",
        1,
    )
    run("dataset_json", "tools/make_dataset_json.py", "--dataset", "more", "--root",
        SHARED / "sequences/more_video", "--output", "more.json")  # fmt: skip


def leave_out_times() -> None:
    """Drop what two runs of the same code do not share."""
    for path in OUT.rglob("*_time.txt"):
        path.write_text(re.sub(r"\d+\.\d+", "TIME", path.read_text()))
    for path in OUT.rglob("*.crops.jsonl"):
        path.write_text("\n".join(sorted(path.read_text().splitlines())))
    for path in OUT.rglob("problems.txt"):
        path.write_text(path.read_text().replace(f"{OUT}/", ""))
    for path in OUT.rglob("*.zip"):
        (path.with_suffix(".names.txt")).write_text("\n".join(zipfile.ZipFile(path).namelist()))
        path.unlink()
    for path in OUT.rglob(".runs"):
        shutil.rmtree(path)
    (OUT / "demo.mp4").unlink()  # shows frames per second


if __name__ == "__main__":
    OUT.mkdir(parents=True)
    train()
    test_and_score()
    if SHARED.is_dir():
        real_data()
    leave_out_times()
