"""How a tracker is run over a video: a class per protocol."""

from toolkit.protocols.masks import Masks
from toolkit.protocols.one_pass import OnePass, Reset

#: Protocols by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
PROTOCOLS: dict[str, type[OnePass]] = {
    "one_pass": OnePass,
    "reset": Reset,
    "long_term": OnePass,
    "masks": Masks,
}
