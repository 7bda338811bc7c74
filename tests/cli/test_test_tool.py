import json
import os
import re
import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from box_files import read_boxes

from golden import fill
from pysot.cli import run
from pysot.cli import test as tool
from pysot.core import RunFailed
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from toolkit.datasets import Video
from toolkit.io.files import acquire
from toolkit.io.pool import WorkerDied, run_parallel
from toolkit.io.video import open_source
from toolkit.protocols.one_pass import StaticTracker
from toolkit.protocols.runner import Job, run_video
from toolkit.results.store import ResultStore

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PYSOT_SHARED", ROOT.parent / "shared"))
TENNIS = SHARED / "data" / "sequences" / "golden_clips" / "tennis"
SAMPLE = ROOT / "tests" / "golden" / "toolkit" / "sample"
LINE = re.compile(r"\(  (\d)\) Video: (\w+) +Time: +\d+\.\ds Speed: \d+\.\dfps")


@pytest.fixture
def arguments(tiny_config, tiny_snapshot, otb_set, tmp_path):
    """Command line of a run over the drawn set."""
    return [
        *("--dataset", "Tiny", "--dataset-root", str(otb_set)),
        *("--config", str(tiny_config), "--snapshot", str(tiny_snapshot)),
        *("--results", str(tmp_path / "results")),
    ]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results" / "Tiny" / "tiny"


def replaced(arguments, option, value):
    at = arguments.index(option)
    return [*arguments[: at + 1], str(value), *arguments[at + 2 :]]


def fails(arguments, capsys, code):
    """Run the tool as its script does; return its message, which is one line."""
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main(arguments))
    assert stop.value.code == code
    (message,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")][-1:]
    return message


def files(folder):
    """Names of what is in a folder, but for the notes on runs."""
    return sorted(p.name for p in folder.iterdir() if p.name != ".runs")


def contents(folder):
    return {p.name: p.read_text() for p in folder.glob("*.txt")}


def change_record(root, video, **fields):
    path = root / "Tiny.json"
    records = json.loads(path.read_text())
    records[video].update(fields)
    path.write_text(json.dumps(records))


# ------------------------------------------------------------------------------- what is written


@pytest.mark.data
@pytest.mark.skipif(not TENNIS.is_dir(), reason=f"needs the clip in {TENNIS}")
def test_result_files_equal_those_of_the_original(tmp_path, monkeypatch, capsys):
    root = tmp_path / "OTB100"
    for video in ("Tennis", "Corner"):
        (root / video).mkdir(parents=True)
        for image in sorted(TENNIS.glob("*.jpg"))[:12]:
            shutil.copy(image, root / video)
    shutil.copy(SAMPLE / "OTB100.json", root)
    config = ROOT / "experiments" / "siamrpn_alex_dwxcorr" / "config.yaml"
    model = build_model(load_config(config))
    shapes = [(key, value.shape) for key, value in model.state_dict().items()]
    weights = {key: torch.from_numpy(value) for key, value in fill.fill(shapes).items()}
    torch.save(weights, tmp_path / "model_siamrpn_alex_dwxcorr.pth")
    monkeypatch.chdir(tmp_path)
    snapshot = "model_siamrpn_alex_dwxcorr.pth"
    command = ["--dataset", "OTB100", "--dataset-root", str(root), "--config", str(config)]
    tool.main([*command, "--snapshot", snapshot])
    where = Path("results") / "OTB100" / "model_siamrpn_alex_dwxcorr"
    for video in ("Tennis", "Corner"):
        written, expected = where / f"{video}.txt", SAMPLE / where / f"{video}.txt"
        np.testing.assert_allclose(read_boxes(written), read_boxes(expected), atol=1e-3)
        assert written.read_text().split("\n")[0] == expected.read_text().split("\n")[0]
    printed = capsys.readouterr().out.splitlines()
    # widths of numbers depend on the machine
    assert [re.sub(r" *[\d.]+", " 0", line) for line in printed] == [
        "( 0) Video: Corner       Time: 0s Speed: 0fps",
        "( 0) Video: Tennis       Time: 0s Speed: 0fps",
    ]


def test_every_video_gets_a_file_and_a_line(arguments, folder, capsys):
    tool.main(arguments)
    assert files(folder) == [".run.json", "A.txt", "B.txt", "C.txt"]
    printed = capsys.readouterr().out.splitlines()
    assert [LINE.fullmatch(line).groups() for line in printed] == [*zip("123", "ABC", strict=True)]
    for name, top in zip("ABC", (15, 17, 19), strict=True):
        lines = (folder / f"{name}.txt").read_text().splitlines()
        assert lines[0] == f"20.5,{top}.5,24,18"  # half a pixel off, and ints stay ints
        assert len(lines) == 6
        assert all(len(line.split(",")) == 4 for line in lines)


def test_one_video_keeps_its_number(arguments, folder, capsys):
    tool.main([*arguments, "--video", "B"])
    assert files(folder) == [".run.json", "B.txt"]
    assert capsys.readouterr().out.startswith("(  2) Video: B ")


def test_overrides_reach_the_tracker(arguments, folder):
    tool.main([*arguments, "--video", "A", "TRACK.LR", "0.0"])
    boxes = read_boxes(folder / "A.txt")
    assert (boxes[:, 2:] == [24, 18]).all()  # without a learning rate the size cannot change
    tool.main([*arguments, "--name", "other", "--video", "A"])
    other = read_boxes(folder.with_name("other") / "A.txt")
    assert (other[1:, 2:] != [24, 18]).all()


def test_workers_write_the_same_and_outlive_a_bad_video(arguments, folder, otb_set, tmp_path):
    (otb_set / "B" / "img" / "0004.jpg").unlink()
    with pytest.raises(RunFailed, match="1 of 3 videos failed: B"):
        tool.main(arguments)
    with pytest.raises(RunFailed, match="1 of 3 videos failed: B"):
        tool.main([*arguments, "--workers", "2", "--name", "parallel"])
    assert files(folder) == [".run.json", "A.txt", "C.txt"]
    assert contents(folder.with_name("parallel")) == contents(folder)


def test_static_repeats_the_first_box(otb_set, tmp_path):
    results = tmp_path / "results"
    command = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--results", str(results)]
    tool.main([*command, "--static"])
    lines = (results / "Tiny" / "static" / "C.txt").read_text()
    assert lines == "20.5,19.5,24,18\n" * 6


@pytest.mark.parametrize(
    ("snapshot", "name", "expected"),
    [
        ("a/b/checkpoint_e12.pth", None, "checkpoint_e12"),
        ("v1.2.pth", None, "v1"),  # PySOT's rule: up to the first dot
        ("v1.2.pth", "v1.2", "v1.2"),
    ],
)
def test_tracker_is_named_after_its_snapshot(snapshot, name, expected):
    command = ["--dataset", "X", "--config", "c", "--snapshot", snapshot]
    args = tool.parse_args(command + (["--name", name] if name else []))
    assert tool._tracker_name(args) == expected


# --------------------------------------------------------------------------- going on, and mixing


def test_a_second_run_does_only_what_is_missing(arguments, folder, capsys):
    tool.main(arguments)
    before = contents(folder)
    (folder / "B.txt").unlink()
    (folder / "C.txt").write_text(before["C.txt"][:40])  # as another program may leave it
    (folder / "A.txt").write_text("1,2,3,4\n" * 6)
    capsys.readouterr()
    tool.main(arguments)
    printed = capsys.readouterr()
    assert [LINE.fullmatch(line)[2] for line in printed.out.splitlines()] == ["B", "C"]
    assert "1 finished videos skipped (--overwrite runs them again)" in printed.err
    assert contents(folder) == {**before, "A.txt": "1,2,3,4\n" * 6}
    tool.main([*arguments, "--overwrite"])
    assert contents(folder) == before


def test_a_video_that_fails_when_run_again_keeps_no_old_result(arguments, folder, otb_set):
    tool.main(arguments)
    (otb_set / "B" / "img" / "0004.jpg").unlink()
    with pytest.raises(RunFailed, match="1 of 3 videos failed: B"):
        tool.main([*arguments, "--overwrite"])
    assert files(folder) == [".run.json", "A.txt", "C.txt"]


def test_results_of_another_snapshot_are_not_mixed(arguments, folder, tiny_snapshot, capsys):
    tool.main(arguments)
    before = contents(folder)
    weights = torch.load(tiny_snapshot)
    torch.save({key: value * 0.5 for key, value in weights.items()}, tiny_snapshot)
    message = fails(arguments, capsys, 2)
    assert "results/Tiny/tiny holds results of another snapshot" in message
    assert contents(folder) == before
    tool.main([*arguments, "--name", "second"])
    tool.main([*arguments, "--overwrite", "--video", "A"])
    assert files(folder) == [".run.json", "A.txt"]  # B and C were of the other snapshot
    second = contents(folder.with_name("second"))
    assert contents(folder) == {"A.txt": second["A.txt"]}
    assert second["A.txt"] != before["A.txt"]


def test_results_of_other_settings_are_not_mixed(arguments, folder, capsys):
    tool.main(arguments)
    assert "or of other settings" in fails([*arguments, "TRACK.LR", "0.1"], capsys, 2)
    tool.main([*arguments, "TRAIN.EPOCH", "3"])  # does not matter for boxes


def test_results_without_a_record_are_kept(arguments, folder):
    folder.mkdir(parents=True)
    (folder / "A.txt").write_text("1,2,3,4\n" * 6)
    tool.main(arguments)
    assert (folder / "A.txt").read_text() == "1,2,3,4\n" * 6


# ------------------------------------------------------------------------------------- pictures


def test_vis_dir_gets_a_video_with_both_boxes(arguments, tmp_path):
    tool.main([*arguments, "--video", "A", "--vis-dir", str(tmp_path / "vis")])
    assert files(tmp_path / "vis") == ["A.mp4"]
    frames = [frame.image for frame in open_source(tmp_path / "vis" / "A.mp4")]
    assert len(frames) == 6
    top = frames[3][15, 29:53].astype(int).mean(axis=0)  # upper edge of the ground truth
    assert top[1] > top[0] + 60
    assert top[1] > top[2] + 60


def test_vis_writes_videos_without_a_display(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "window_available", lambda: False)
    tool.main(arguments)
    vis = tmp_path / "results_vis" / "Tiny" / "tiny"
    assert not vis.exists()
    tool.main([*arguments, "--vis"])  # finished videos are drawn without running them again
    assert files(vis) == ["A.mp4", "B.mp4", "C.mp4"]


def test_vis_plays_in_a_window_where_there_is_one(arguments, tmp_path, monkeypatch):
    shown = []

    class FakeWindow:
        def __init__(self, title, fps):
            self.title = title

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def write(self, image):
            shown.append(self.title)
            return len(shown) != 2  # the user presses q in the second frame of A

    monkeypatch.setattr(tool, "window_available", lambda: True)
    monkeypatch.setattr("toolkit.io.video.Window", FakeWindow)
    tool.main([*arguments, "--vis"])
    assert "".join(shown) == "AA" + "BBBBBB" + "CCCCCC"
    assert not (tmp_path / "results_vis").exists()


# ------------------------------------------------------------------------------------- bad input


def damage_jpeg(root):
    (root / "B" / "img" / "0003.jpg").write_bytes(b"no image")
    return r"cannot decode the image .*B/img/0003\.jpg"


def cut_jpeg(root):
    path = root / "B" / "img" / "0003.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return r"cannot decode the image .*B/img/0003\.jpg"


def remove_image(root):
    (root / "B" / "img" / "0003.jpg").unlink()
    return r"B/img/0003\.jpg"


def change_size(root):
    cv2.imwrite(str(root / "B" / "img" / "0003.jpg"), np.zeros((60, 80, 3), np.uint8))
    return r"frame 2 is 80x60 but the video began with 96x72"


def empty_box(root):
    change_record(root, "B", gt_rect=[[20, 17, 0, 18]] * 6)
    return r"cannot start on the box .* positive w, h"


def nan_box(root):
    change_record(root, "B", gt_rect=[[float("nan")] * 4] * 6)
    return r"cannot start on the box .*nan"


def box_outside(root):
    change_record(root, "B", gt_rect=[[500, 17, 20, 20]] * 6)
    return r"lies outside the 96 x 72 frame"


@pytest.mark.parametrize(
    "harm", [damage_jpeg, cut_jpeg, remove_image, change_size, empty_box, nan_box, box_outside]
)
def test_a_bad_video_is_named_and_the_others_go_on(harm, arguments, folder, otb_set, capsys):
    pattern = harm(otb_set)
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main(arguments))
    assert stop.value.code == 1
    errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert len(errors) == 2
    assert re.search(r"error: B: .*" + pattern, errors[0])
    assert errors[1] == "error: 1 of 3 videos failed: B"
    assert files(folder) == [".run.json", "A.txt", "C.txt"]


def test_grey_and_16_bit_frames_are_tracked(arguments, folder, otb_set):
    gray = otb_set / "B" / "img" / "0002.png"
    deep = otb_set / "B" / "img" / "0003.png"
    cv2.imwrite(str(gray), np.full((72, 96), 100, np.uint8))
    cv2.imwrite(str(deep), np.linspace(0, 65535, 72 * 96 * 4).reshape(72, 96, 4).astype(np.uint16))
    names = ["B/img/0001.jpg", "B/img/0002.png", "B/img/0003.png"]
    change_record(otb_set, "B", img_names=names, gt_rect=[[20, 17, 24, 18]] * 3)
    tool.main([*arguments, "--video", "B"])
    assert read_boxes(folder / "B.txt").shape == (3, 4)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def missing_config(arguments, tmp_path):
    return replaced(arguments, "--config", "none.yaml"), r"configuration file not found: none\.yaml"


def missing_snapshot(arguments, tmp_path):
    return replaced(arguments, "--snapshot", "none.pth"), r"checkpoint not found: none\.pth"


def damaged_snapshot(arguments, tmp_path):
    path = tmp_path / "tiny.pth"
    path.write_bytes(path.read_bytes()[:1000])
    return arguments, r"tiny\.pth is damaged or no checkpoint"


def pickle_with_code(arguments, tmp_path):
    torch.save({"state_dict": Bomb()}, tmp_path / "tiny.pth")
    return arguments, r"tiny\.pth: refused"


def other_model(arguments, tmp_path):
    torch.save({"backbone.x": torch.zeros(3)}, tmp_path / "tiny.pth")
    return arguments, r"tiny\.pth does not fit this model"


def missing_json(arguments, tmp_path):
    (tmp_path / "Tiny" / "Tiny.json").rename(tmp_path / "Tiny" / "Tony.json")
    return arguments, r"no annotation file .*Tiny\.json: there is Tony\.json"


def broken_json(arguments, tmp_path):
    (tmp_path / "Tiny" / "Tiny.json").write_text('{"A": {"img_names": [')
    return arguments, r"Tiny\.json is not valid JSON"


def other_protocol(arguments, tmp_path):
    return replaced(arguments, "--dataset", "VOT2018"), "VOT2018 needs the protocol 'reset'"


def results_in_a_file(arguments, tmp_path):
    (tmp_path / "results").write_text("not a folder")
    return arguments, r"cannot write .*results/Tiny/tiny"


def bad_name(arguments, tmp_path):
    return [*arguments, "--name", "../x"], r"'\.\./x' cannot name a tracker's folder"


def unknown_key(arguments, tmp_path):
    return [*arguments, "TRACK.PENALTY", "1"], r"did you mean TRACK\.PENALTY_K"


def no_value(arguments, tmp_path):
    return [*arguments, "TRACK.LR"], "'TRACK.LR' has no value"


def static_with_config(arguments, tmp_path):
    return [*arguments, "--static"], "--static takes no --config"


def unknown_video(arguments, tmp_path):
    path = tmp_path / "Tiny" / "Tiny.json"
    records = json.loads(path.read_text())
    path.write_text(json.dumps({"Basketball": records["A"], "Bolt": records["B"]}))
    return [*arguments, "--video", "basketbal"], "no video 'basketbal' in Tiny; .*Basketball"


@pytest.mark.parametrize(
    "harm",
    [
        missing_config,
        missing_snapshot,
        damaged_snapshot,
        pickle_with_code,
        other_model,
        missing_json,
        broken_json,
        results_in_a_file,
        bad_name,
        unknown_key,
        no_value,
        static_with_config,
        unknown_video,
    ],
)
def test_bad_input_is_one_clear_line(harm, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, pattern = harm(arguments, tmp_path)
    message = fails(command, capsys, 2)
    assert re.search(pattern, message)
    assert not (tmp_path / "results").is_dir()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "required: --dataset"),
        (
            ["--dataset", "X", "--static", "--workers", "0"],
            "--workers/--num: 0: must be a whole number, at least 1",
        ),
    ],
)
def test_bad_command_lines_are_refused(command, message, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(command)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


class Killer(Video):
    """A video that takes its worker process down, as a lack of memory does."""

    def __init__(self):
        super().__init__("Killer", "", ["x"], [[1, 1, 5, 5]])

    def __iter__(self):
        os._exit(9)


def test_a_dead_worker_is_reported(tmp_path):
    job = Job(StaticTracker, "one_pass", ResultStore(tmp_path, "flat"))
    with pytest.raises(WorkerDied, match="a worker process died"):
        list(run_parallel(partial(run_video, job), [Killer()], workers=2))
    assert [path.name for path in tmp_path.iterdir()] == [".Killer.lock"]


def test_processes_share_the_videos_of_a_folder(arguments, folder, capsys):
    with acquire(folder / ".B.lock"):  # as another process does that runs B
        tool.main(arguments)
        assert files(folder) == [".B.lock", ".run.json", "A.txt", "C.txt"]
        out, errors = capsys.readouterr()
        assert [LINE.fullmatch(line)[2] for line in out.splitlines()] == ["A", "C"]
        assert "1 videos are with other processes, which finish them" in errors
    tool.main(arguments)
    assert files(folder) == [".run.json", "A.txt", "B.txt", "C.txt"]


def test_other_settings_wait_for_a_process_that_writes_there(arguments, folder):
    tool.main([*arguments, "--video", "A"])
    (folder / "A.txt").unlink()
    before = (folder / ".run.json").read_bytes()
    with acquire(folder / ".B.lock"):
        for more in ([], ["--overwrite"]):
            with pytest.raises(ValueError, match="another process runs B with another snapshot"):
                tool.main([*arguments, *more, "TRACK.LR", "0.123"])
    assert (folder / ".run.json").read_bytes() == before
    tool.main([*arguments, "TRACK.LR", "0.123"])
    assert (folder / ".run.json").read_bytes() != before


def test_what_another_process_left_is_done_in_the_end(arguments, folder, capsys, monkeypatch):
    with ExitStack() as other:
        other.enter_context(acquire(folder / ".B.lock"))
        run_and_draw = tool._run_and_draw

        def run_video(job, vis_dir, video):
            result = run_and_draw(job, vis_dir, video)
            if video.name == "C":
                other.close()  # it died
            return result

        monkeypatch.setattr(tool, "_run_and_draw", run_video)
        tool.main(arguments)
    assert files(folder) == [".run.json", "A.txt", "B.txt", "C.txt"]
    assert [LINE.fullmatch(x)[2] for x in capsys.readouterr().out.splitlines()] == ["A", "C", "B"]


# ------------------------------------------------------------------------ speed and the next step


def noted(folder):
    return {p.stem: json.loads(p.read_text()) for p in (folder / ".runs").iterdir()}


def test_a_run_ends_with_its_speed_and_the_line_to_score_it(arguments, folder, capsys, otb_set):
    tool.main(arguments)
    *_, speed, line = capsys.readouterr().err.splitlines()
    text = r"speed: \d+\.\d frames per second in the tracker, over 15 frames of 3 videos, on"
    assert re.fullmatch(text + r" cpu \(.+\)", speed)
    expected = f"eval -p {folder.parents[1]} -d Tiny -t tiny --dataset-root {otb_set}"
    assert line == f"score: pysot {expected}"
    runs = noted(folder)
    assert (list(sorted(runs)), runs["A"]["frames"]) == (["A", "B", "C"], 5)
    assert runs["A"]["device"].startswith("cpu (") and runs["A"]["seconds"] > 0
    assert runs["A"]["settings"].endswith("config.yaml tiny.pth")
    assert re.match(r"pysot \d.*, PyTorch \d", runs["A"]["version"])
    assert contents(folder).keys() == {"A.txt", "B.txt", "C.txt"}


def test_a_static_box_has_no_speed(otb_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["tools/test.py"])
    where = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--results", str(tmp_path)]
    tool.main([*where, "--static", "--video", "B"])
    out, err = capsys.readouterr()
    assert out == "(  2) Video: B\n"
    assert "speed: " not in err
    assert f"score: python tools/eval.py -p {tmp_path} -d Tiny -t static" in err
    run = noted(tmp_path / "Tiny" / "static")["B"]
    assert (run["device"], run["settings"], run["seconds"]) == ("", "static", 0)


def test_a_run_that_goes_on_otherwise_is_a_warning(arguments, folder, caplog, capsys, monkeypatch):
    tool.main([*arguments, "--video", "A"])
    monkeypatch.setattr("pysot.tracker.conditions._processor", lambda: "Another")
    tool.main([*arguments, "--video", "B"])
    (message,) = caplog.messages
    assert "1 finished videos were run otherwise (now device 'cpu (Another)', not 'cpu (" in message
    caplog.clear()
    capsys.readouterr()
    tool.main(arguments)
    speeds = [x for x in capsys.readouterr().err.splitlines() if x.startswith("speed: ")]
    assert ["over 5 frames of 1 video, on" in x for x in speeds] == [True, False]
    assert speeds[1].endswith("over 10 frames of 2 videos, on cpu (Another)")
    caplog.clear()
    tool.main([*arguments, "--overwrite"])
    assert caplog.messages == []
    assert {run["device"] for run in noted(folder).values()} == {"cpu (Another)"}


def test_results_of_a_server_are_to_be_packed(otb_set, tmp_path, capsys):
    shutil.copy(otb_set / "Tiny.json", otb_set / "TrackingNet.json")
    where = ["--dataset", "TrackingNet", "--dataset-root", str(otb_set)]
    tool.main([*where, "--results", str(tmp_path), "--static", "--video", "A"])
    assert f"pack: pysot submit -p {tmp_path} -d TrackingNet -t static" in capsys.readouterr().err
