"""Draw the built-in training set and benchmark; see demo/synthetic."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.synthetic.make import main
from pysot.cli import run

if __name__ == "__main__":
    run(main)
