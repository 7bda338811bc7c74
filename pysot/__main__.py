"""``python -m pysot``: the same as the command ``pysot``."""

from pysot.cli import main

if __name__ == "__main__":
    main()
