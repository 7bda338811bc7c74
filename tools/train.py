"""Train a tracker; `pysot.cli.train` has the options."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == "__main__":
    # Waiting threads should sleep, not spin: spinning takes the cores from the workers that read
    # data. torch reads this once, when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


from pysot.cli.train import main
from pysot.core.errors import run

if __name__ == "__main__":
    run(main)
