"""Put a folder of training crops into a few large files, which are quicker to read and to copy.

    python tools/pack_crops.py training_dataset/vid/crop511 training_dataset/vid/pack511

Name the new folder as ``DATASET.<NAME>.ROOT``. Run again, it packs what has changed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pysot.cli.arguments import Parser, positive
from pysot.core.errors import RunFailed
from pysot.datasets.crop_pack import pack_crops
from pysot.datasets.crop_store import UnreadableImage, pack_decoded


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of crops, such as crop511")
    parser.add_argument("target", type=Path, help="folder for the pack")
    parser.add_argument(
        "--decoded", action="store_true", help="pack pixels: 25 times as large, nothing to decode"
    )
    parser.add_argument("--shard-mb", type=positive, default=1024, help="size of one file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Pack, and say how much."""
    args = parse_args(argv)
    if not args.source.is_dir():
        raise FileNotFoundError(f"no folder of crops: {args.source}")
    pack = pack_decoded if args.decoded else pack_crops
    try:
        count = pack(args.source, args.target, shard_bytes=args.shard_mb << 20)
    except UnreadableImage as error:
        raise RunFailed(str(error)) from error
    print(f"{args.target}: {count} crops")
