"""A name that is nearly a benchmark's, and a benchmark short of videos, are said before scores."""

from contextlib import suppress
from importlib import import_module

import pytest

from pysot.core import RunFailed
from toolkit.datasets import BENCHMARKS, load_videos
from toolkit.datasets.benchmarks import near_benchmarks


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vot2018", "VOT2018"),
        ("VOT-2018", "VOT2018"),
        ("VTO2018", "VOT2018"),
        ("VOT2018-ST", "VOT2018 VOT2018-LT"),
        ("VOT2018LT", "VOT2018-LT"),
        ("VOT2019-LT", "VOT2018-LT VOT2019"),
        ("VOT-LT2018", "VOT2018-LT VOT2018"),
        ("VOT18", "VOT2018 VOT2016 VOT2017"),
        ("UAV10fps", "UAV123_10fps"),
        ("VOT2020", "VOT2019 VOT2018 VOT2017"),
        ("GOT10k", "GOT-10k"),
        ("got10k_val", "GOT-10k_val"),
        ("GOT-10k_test", "GOT-10k"),
        ("OTB2013", "CVPR13"),
        ("OTB", "OTB50 OTB100 OTB2015"),
        ("tb100", "OTB100"),
        ("NFS", "NFS30 NFS240"),
        ("NFS30fps", "NFS30"),
        ("lasot", "LaSOT"),
        ("UAV-123", "UAV123"),
        ("UAV123@10fps", "UAV123_10fps"),
        ("DAVIS", "DAVIS2016 DAVIS2017"),
        ("TrackinNet", "TrackingNet"),
        ("youtube_vos", "YouTube-VOS"),
        ("DAVIS_rect", ""),
        ("UAV123_10fps_half", ""),
        ("VOT2018_syn", ""),
        ("LaSOT_ext", "LaSOText"),
        ("LaSOT-extension-subset", "LaSOText"),
        ("avist", "AVisT"),
        ("TNL2k", "TNL2K"),
        ("TNL2K_test", "TNL2K"),
        ("TempleColor128", "TC128"),
        ("Temple-Color", "TC128"),
        ("tc-128", "TC128"),
        ("VisDrone", "VisDrone-SOT"),
        ("VisDrone2019-SOT-test-dev", "VisDrone-SOT"),
        ("VisDroneSOT", "VisDrone-SOT"),
        ("UAVDT", "UAVDT-SOT"),
        ("uavdt_sot", "UAVDT-SOT"),
        ("OTB_mine", ""),
        ("cats", ""),
        ("set2", ""),
        ("é", ""),
        *((name, "") for name in BENCHMARKS),
    ],
)
def test_names_that_are_nearly_those_of_benchmarks(name, meant):
    assert near_benchmarks(name) == meant.split()


def test_the_name_is_doubted_before_anything_else(make_set, caplog):
    load_videos(make_set(name="vot2018"), "vot2018")
    assert caplog.messages == [
        "vot2018 is no known benchmark and is taken as a set of your own, run once over each "
        "video; did you mean VOT2018?"
    ]
    caplog.clear()
    with pytest.raises(FileNotFoundError):
        load_videos("nowhere", "otb")
    assert caplog.messages[0].endswith("did you mean OTB50, OTB100 or OTB2015?")


def test_a_benchmark_short_of_videos(make_set, caplog):
    load_videos(make_set(name="OTB100"), "OTB100")
    assert caplog.messages == [
        "OTB100 has 2 videos here, but 100 belong to it; scores are not those of the benchmark"
    ]


@pytest.mark.parametrize("command", ["test", "eval", "submit", "check", "tune"])
def test_every_command_doubts_the_name(
    command, make_set, tmp_path, caplog, capsys, tiny_config, tiny_snapshot
):
    root = make_set(name="GOT10k")
    (tmp_path / "GOT10k" / "t").mkdir(parents=True)
    results = ["--tracker_path", str(tmp_path)]
    arguments = {
        "test": ["--static", "--results", str(tmp_path / "out")],
        "eval": results,
        "submit": [*results, "-t", "t"],
        "check": [],
        "tune": ["--config", str(tiny_config), "--snapshot", str(tiny_snapshot), "--lr", "0.3"],
    }[command]
    with suppress(ValueError, OSError, RunFailed):  # there is neither an image nor a result
        import_module(f"pysot.cli.{command}").main(
            ["--dataset", "GOT10k", "--dataset-root", str(root), *arguments]
        )
    assert "did you mean GOT-10k?" in caplog.text + capsys.readouterr().out
