"""The benchmarks as data, so that no tool tests a data set's name.

Adding a benchmark is adding a row; a one-pass set in PySOT's JSON layout needs not even that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Benchmark:
    """All that loading, running and scoring need to know of a data set.

    Attributes:
        protocol: How trackers are run, a key of `toolkit.protocols.PROTOCOLS`.
        layout: How result files lie, a key of `toolkit.results.LAYOUTS`.
        metrics: What the table shows, keys of `toolkit.utils.statistics.METRICS`.
        folder: Data-set folder whose frames it shares; None if it has its own.
        has_absent: Videos carry a per-frame ``absent`` list of which only frames with value 1
            (target present) are scored; the others still count in the denominator, as in PySOT.
        cut_results: Videos whose results are longer than the annotation in every archive.
        old_names: File names of results in older archives, by video.
        lower_initial: Other videos may be found with a lower-case first letter there.
    """

    protocol: str
    layout: str
    metrics: tuple[str, ...]
    folder: str | None = None
    has_absent: bool = False
    cut_results: frozenset[str] = frozenset()
    old_names: Mapping[str, str] = field(default_factory=dict)
    lower_initial: bool = False

    def result_names(self, video: str) -> list[str]:
        """Names that a video's result may have, the proper one first."""
        older = self.old_names.get(video)
        if older is None and self.lower_initial:
            older = video[:1].lower() + video[1:]
        return [video, older] if older not in (None, video) else [video]


OPE = Benchmark("one_pass", "flat", ("success", "precision"))
OTB = replace(
    OPE,
    lower_initial=True,
    old_names={
        "FleetFace": "fleetface",
        "Jogging-1": "jogging_1",
        "Jogging-2": "jogging_2",
        "Skating2-1": "skating2_1",
        "Skating2-2": "skating2_2",
        "FaceOcc1": "faceocc1",
        "FaceOcc2": "faceocc2",
        "Human4-2": "human4_2",
    },
)
LASOT = replace(
    OPE,
    metrics=(*OPE.metrics, "norm_precision"),
    has_absent=True,
    cut_results=frozenset({"monkey-17"}),
)

BENCHMARKS: dict[str, Benchmark] = {
    "OTB100": OTB,
    "OTB2015": replace(OTB, folder="OTB100"),
    "OTB50": replace(OTB, folder="OTB100"),
    "CVPR13": replace(OTB, folder="OTB100"),
    "UAV123": OPE,
    "UAV123_10fps": OPE,
    "UAV20L": OPE,
    "NFS30": OPE,
    "NFS240": OPE,
    "LaSOT": LASOT,
    "DTB70": OPE,
    "Synthetic": replace(OPE, metrics=(*OPE.metrics, "norm_precision")),
}

#: Sets whose protocol is not here, with the protocol they need.
UNSUPPORTED: dict[str, str] = {
    **dict.fromkeys(("VOT2016", "VOT2017", "VOT2018", "VOT2019"), "reset-based"),
    "VOT2018-LT": "long-term",
    "GOT-10k": "server-scored",
    "TrackingNet": "server-scored",
}


def find_benchmark(name: str) -> Benchmark:
    """Look a benchmark up; a name without a row is a one-pass set with OTB-style files.

    Raises:
        ValueError: If the set needs a protocol that is not supported.
    """
    if name in UNSUPPORTED:
        raise ValueError(
            f"{name} is a {UNSUPPORTED[name]} benchmark, which this version does not handle; "
            f"supported: {', '.join(BENCHMARKS)}, and any one-pass set in their JSON format"
        )
    return BENCHMARKS.get(name, OPE)


def find_root(name: str, parent: Path) -> Path:
    """Locate the folder of a data set under ``parent`` (``testing_dataset``).

    That is ``parent/name``, or the folder of the set it shares its frames with if that alone is
    there (CVPR13.json lies in the folder of OTB100).
    """
    own, shared = parent / name, find_benchmark(name).folder
    if shared and not own.exists() and (parent / shared / f"{name}.json").exists():
        return parent / shared
    return own
