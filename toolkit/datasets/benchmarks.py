"""The benchmarks as data, so that no tool tests a data set's name.

Adding a benchmark is adding a row, here or from a plug-in (``BENCHMARKS[name] = Benchmark(...)``);
a one-pass set in PySOT's JSON layout needs not even that.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from toolkit.io.tables import Table

_SEPARATORS = re.compile(r"[-_. ]+")
_SUFFIXES = ("", "fps", "st", "test", "train", "val", "valid")  # that people add to a set's name
_LIKE = 0.85  # similarity from which a name is taken for a typing error


@dataclass(frozen=True)
class Benchmark:
    """All that loading, running and scoring need to know of a data set."""

    protocol: str  # key of `toolkit.protocols.PROTOCOLS`
    layout: str  # of result files, key of `toolkit.results.formats.LAYOUTS`
    metrics: tuple[str, ...]  # in its table, keys of `toolkit.evaluation.METRICS`
    evaluation: str = "ope"  # key of `toolkit.evaluation.EVALUATIONS`
    repetitions: int = 1  # the most runs of a tracker that is not deterministic
    eao_window: tuple[int, int] | None = None  # frames, both included, of the expected overlap
    tags: tuple[str, ...] = ()  # per frame, in the order of tables and plots
    num_videos: int = 0  # in the whole set; 0 if nobody says
    has_server: bool = False  # that scores the results, as only first frames have boxes
    folder: str | None = None  # data set whose frames it shares; None if it has its own
    # Videos carry a list ``absent`` of which only frames with value 1 (target present) are scored;
    # the others still count in the denominator, as in PySOT.
    has_absent: bool = False
    cut_results: frozenset[str] = frozenset()  # videos with results longer than their annotation
    # Videos for which a folder holds more images than count: numbers of the first and last that do.
    frames: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    other_names: Mapping[str, str] = field(default_factory=dict)  # of videos in other toolkits
    folders: Mapping[str, str] = field(default_factory=dict)  # of videos, where two share one
    sizes: str = ""  # their part of the table ``frame_sizes``, of frames that are not at hand
    validation: bool = False  # whether settings may be chosen by it, as no test depends on it
    prefix: str = ""  # that other toolkits put before the names of videos, in small letters

    def spelling(self, name: str) -> str:
        """Name of a video without what toolkits write differently: case, separators, prefix."""
        plain = alike(name)
        return plain.removeprefix(f"{self.prefix}-") if self.prefix else plain


OPE = Benchmark("one_pass", "flat", ("success", "precision"))
OTB = replace(
    OPE,
    frames={
        "BlurCar1": (247, None),
        "BlurCar3": (3, None),
        "BlurCar4": (18, None),
        "David": (300, 770),
        "Tiger1": (6, None),
    },
    other_names={"Human4-2": "Human4"},
    folders={
        "Jogging-1": "Jogging",
        "Jogging-2": "Jogging",
        "Skating2-1": "Skating2",
        "Skating2-2": "Skating2",
        "Human4-2": "Human4",
    },
)
UAV = replace(OPE, prefix="uav")
NFS = replace(OPE, prefix="nfs")
NORM = replace(OPE, metrics=("success", "norm_precision", "precision"))
SEEN = replace(NORM, has_absent=True)
LASOT = replace(SEEN, cut_results=frozenset({"monkey-17"}))
AVIST = replace(SEEN, metrics=(*SEEN.metrics, "op50", "op75"))  # as its paper has them
# windows: the lengths most common among the sequences, as each year's VOT report gives them
VOT = Benchmark(
    "reset",
    "vot",
    ("accuracy", "robustness", "lost_number", "eao"),
    evaluation="vot",
    repetitions=15,
    tags=("camera_motion", "illum_change", "motion_change", "size_change", "occlusion"),
    other_names={"pedestrian1": "pedestrain1", "pedestrain1": "pedestrian1"},
    sizes="VOT",
)
GOT10K = Benchmark("one_pass", "got10k", ("ao", "sr50", "sr75"), evaluation="got10k", repetitions=3)
DAVIS = Benchmark("masks", "masks", ("j", "f"), evaluation="davis")

LONG_TERM = Benchmark("long_term", "longterm", ("precision", "recall", "f1"), evaluation="longterm")

BENCHMARKS: Table[Benchmark] = Table(
    "benchmark",
    {
        "OTB100": replace(OTB, num_videos=100),
        "OTB2015": replace(OTB, num_videos=100, folder="OTB100"),
        "OTB50": replace(OTB, num_videos=50, folder="OTB100"),
        "CVPR13": replace(OTB, num_videos=51, folder="OTB100"),
        "UAV123": replace(UAV, num_videos=123),
        "UAV123_10fps": replace(UAV, num_videos=123),
        "UAV20L": replace(UAV, num_videos=20),
        "NFS30": replace(NFS, num_videos=100),
        "NFS240": replace(NFS, num_videos=100),
        "LaSOT": replace(LASOT, num_videos=280),
        "LaSOText": replace(SEEN, num_videos=150),
        "AVisT": replace(AVIST, num_videos=120),
        "TNL2K": replace(NORM, num_videos=700),
        "TC128": replace(OPE, num_videos=128),
        "VisDrone-SOT": replace(OPE, num_videos=35),
        "UAVDT-SOT": replace(OPE, num_videos=50),
        "DTB70": replace(OPE, num_videos=70),
        "TrackingNet": replace(NORM, num_videos=511, has_server=True),
        "GOT-10k": replace(GOT10K, num_videos=180, has_server=True),
        "GOT-10k_val": replace(GOT10K, num_videos=180, folder="GOT-10k", validation=True),
        "VOT2016": replace(VOT, num_videos=60, eao_window=(108, 371)),
        "VOT2017": replace(VOT, num_videos=60, eao_window=(100, 356)),
        "VOT2018": replace(VOT, num_videos=60, eao_window=(100, 356)),
        "VOT2019": replace(VOT, num_videos=60, eao_window=(46, 291)),
        "VOT2018-LT": replace(LONG_TERM, num_videos=35),
        "DAVIS2016": replace(DAVIS, num_videos=20),
        "DAVIS2017": replace(DAVIS, num_videos=30),
        "YouTube-VOS": replace(DAVIS, has_server=True),
        "Synthetic": NORM,
        "SyntheticMasks": replace(DAVIS, folder="Synthetic"),
    },
)


#: What benchmarks without their own row are called elsewhere, in small letters and digits.
_OTHER_NAMES = {
    "otb2013": "CVPR13",
    "otb13": "CVPR13",
    "ytvos": "YouTube-VOS",
    "lasotextension": "LaSOText",
    "lasotextensionsubset": "LaSOText",
    "templecolor": "TC128",
    "templecolor128": "TC128",
    "tcolor128": "TC128",
    "visdrone": "VisDrone-SOT",
    "visdronesottestdev": "VisDrone-SOT",
    "visdrone2018sot": "VisDrone-SOT",
    "visdrone2019sot": "VisDrone-SOT",
    "visdrone2018sottestdev": "VisDrone-SOT",
    "visdrone2019sottestdev": "VisDrone-SOT",
    "uavdt": "UAVDT-SOT",
    "uavbenchmarksot": "UAVDT-SOT",
}
_NUMBERS = re.compile(r"[0-9]+")


@cache
def table(name: str) -> Mapping[str, Any]:
    """Return names or numbers that belong to sets; see the folder ``data``."""
    return json.loads((files("toolkit.datasets") / "data" / f"{name}.json").read_bytes())


def alike(name: str) -> str:
    """Return what names have in common that differ in case and separators."""
    return _SEPARATORS.sub("-", name.lower())


def find_benchmark(name: str) -> Benchmark:
    """Look a benchmark up; a name without a row is a one-pass set with OTB-style files."""
    return BENCHMARKS.get(name, OPE)


def near_benchmarks(name: str) -> list[str]:
    """Name up to three benchmarks that a name without a row may stand for, the likeliest first.

    That is one that differs in case, separators, a usual suffix, numbers alone, or a letter.
    """
    if name in BENCHMARKS:
        return []
    plain = _letters_and_digits(name)
    if plain in _OTHER_NAMES:
        return [_OTHER_NAMES[plain]]
    rank = {}
    for row in BENCHMARKS:
        known = _letters_and_digits(row)
        likeness = SequenceMatcher(None, plain, known).ratio()
        longer = plain.startswith(known) and plain.removeprefix(known) in _SUFFIXES
        kin = _NUMBERS.sub("", plain) == _NUMBERS.sub("", known)
        if longer or kin or likeness >= _LIKE:
            numbers = (int("".join(_NUMBERS.findall(text)) or 0) for text in (plain, known))
            rank[row] = (not longer, not kin, -likeness, abs(next(numbers) - next(numbers)))
    found = sorted(rank, key=rank.get)[:3]
    return found[:1] if found and _letters_and_digits(found[0]) == plain else found


def _letters_and_digits(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def find_root(name: str, parent: Path) -> Path:
    """Locate the folder of a data set under ``parent`` (``testing_dataset``).

    That is ``parent/name``, or the folder of the set it shares its frames with if that alone is
    there (CVPR13.json lies in the folder of OTB100).
    """
    own, shared = parent / name, find_benchmark(name).folder
    return parent / shared if shared and not own.exists() and (parent / shared).is_dir() else own
