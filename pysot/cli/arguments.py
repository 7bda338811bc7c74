"""Arguments that several commands have, by the same names in all of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from toolkit.datasets import find_root


class Parser(argparse.ArgumentParser):
    """A parser that shows the docstring of a command and adds the arguments that commands share."""

    def __init__(self, description: str, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(description=description, **options)

    def add_config(self, default: str | None = None, required: bool = True) -> None:
        """Add ``--config``, in PySOT also ``--cfg``; with a default it is not required."""
        text = "configuration" + (" (default: %(default)s)" if default else " of the tracker")
        required = required and default is None
        self.add_argument("--config", "--cfg", default=default, required=required, help=text)

    def add_overrides(self) -> None:
        """Add ``KEY VALUE`` pairs; they need ``parse_intermixed_args``."""
        self.add_argument("opts", nargs="*", metavar="KEY VALUE", help="override the configuration")

    def add_workers(self, *short: str, default: int = 1) -> None:
        """Add ``--workers``, in PySOT also ``--num``."""
        text = "processes; the results are the same (default: %(default)s)"
        names = ("--workers", "--num", *short)
        self.add_argument(*names, type=positive, default=default, metavar="N", help=text)

    def add_dataset_root(self, *old: str, text: str = "", **options: Any) -> None:
        """Add ``--dataset-root``; see `find_dataset_root`."""
        text = text or "folder of the data set (default: testing_dataset/DATASET)"
        names = ("--dataset-root", *old)
        self.add_argument(*names, type=Path, metavar="DIR", help=text, **options)

    def add_output(self, *old: str, text: str, **options: Any) -> None:
        """Add ``--output``, where the command writes."""
        self.add_argument("--output", *old, type=Path, help=text, **options)


def positive(text: str) -> int:
    """Read a whole number from 1, as a ``type`` of argparse."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 1")
    return int(text)


def find_dataset_root(name: str, root: Path | None) -> Path:
    """Folder of a data set: ``--dataset-root``, or below ``testing_dataset``.

    That folder lies in the repository or, for an installed package, in the current folder.
    """
    checkout = Path(__file__).resolve().parents[2] / "testing_dataset"
    return root or find_root(name, checkout if checkout.is_dir() else Path("testing_dataset"))
