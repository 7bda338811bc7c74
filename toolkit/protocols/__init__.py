"""How a tracker is run over a video: a class per protocol."""

from toolkit.io.tables import Table
from toolkit.protocols.masks import Masks
from toolkit.protocols.one_pass import OnePass, Reset

#: Protocols by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
PROTOCOLS: Table[type[OnePass]] = Table(
    "protocol",
    {
        "one_pass": OnePass,
        "reset": Reset,
        "long_term": OnePass,
        "masks": Masks,
    },
)
