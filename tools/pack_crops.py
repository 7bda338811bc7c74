"""Pack training crops into a few large files; `pysot.cli.pack` has the options."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli.pack import main
from pysot.core.errors import run

if __name__ == "__main__":
    run(main)
