"""Draw the built-in training set and benchmark; see demo/synthetic."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run

if __name__ == "__main__":
    run(lambda: import_module("demo.synthetic.make").main())
