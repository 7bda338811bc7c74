"""Run PySOT's grid of settings of a tracker; the same as ``pysot tune --sampler grid``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv[1:1] = ["--sampler", "grid"]
    run_command("tune")
