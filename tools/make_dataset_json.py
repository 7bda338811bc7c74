"""Check a benchmark and write its JSON; `pysot.cli.check` has the options."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli.check import main
from pysot.core.errors import run

if __name__ == "__main__":
    run(main)
