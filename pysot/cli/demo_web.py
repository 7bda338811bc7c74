"""``pysot demo --web``: its options, and what they start."""

from __future__ import annotations

import argparse
from pathlib import Path

from pysot.cli import Parser, amount, find_tracker, positive, stop_requests
from pysot.zoo import DEFAULT
from toolkit.io.samples import sample_clips

# what both ways of the demo take, the web alone, and neither more than the other
_SHARED = {"web", "config", "snapshot", "model", "plugin", "opts", "video_name"}
_WEB = {
    *("host", "port", "token", "clips", "offer"),
    *("max_upload", "max_visitors", "idle_minutes"),
}


def add_web_options(parser: Parser) -> None:
    """Add ``--web``, and what it takes."""
    group = parser.add_argument_group("in a browser")
    add = group.add_argument
    add("--web", action="store_true", help="serve a page on which visitors track videos")
    add("--host", default="127.0.0.1", help="address to listen on; all but loopback take a token")
    add("--port", type=_port, default=8080, metavar="N", help="0: any that is free")
    add("--token", metavar="TEXT", help="what the page's address must contain (default: random)")
    add("--clips", type=Path, metavar="DIR", help="folder of videos that visitors may open")
    text = "video, camera or stream that visitors may open; may be repeated, as may LABEL=SOURCE"
    add("--offer", action="append", default=[], metavar="SOURCE", help=text)
    add("--max-upload", type=positive, default=200, metavar="MB", help="size of a visitor's file")
    add("--max-visitors", type=positive, default=4, metavar="N", help="visitors at one time")
    text = "after how long without use a visitor's files are removed"
    add("--idle-minutes", type=amount, default=15, metavar="N", help=text)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 0 to 65535")
    return int(text)


def check_web_options(parser: Parser, args: argparse.Namespace) -> None:
    """End with an error where an option was given that has no effect with or without ``--web``."""
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)}
    idle = given - _SHARED - _WEB if args.web else given & _WEB
    if idle:
        option = "--" + min(idle).replace("_", "-")
        parser.error(f"{option} has no effect with --web" if args.web else f"{option} needs --web")


def _tracker_name(args: argparse.Namespace) -> str:
    if args.model or not (args.config or args.snapshot):
        return args.model or DEFAULT
    path = Path(args.config or args.snapshot)
    return path.parent.name if path.stem == "config" else path.stem  # NAME/config.yaml


def serve_page(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    from pysot.tracker.api import MultiTracker
    from pysot.tracker.tracker_builder import build_tracker, load_network
    from pysot.web.server import WebSettings, serve
    from pysot.web.visitors import Offer, clips_in

    samples = [Offer(f"{name} (sample)", str(path)) for name, path in sample_clips().items()]
    texts = [*args.offer, *([args.video_name] if args.video_name else [])]
    clips = clips_in(args.clips) if args.clips else []
    settings = WebSettings(
        tracker_name=_tracker_name(args),
        offers=[*clips, *map(Offer.parse, texts), *samples],
        host=args.host,
        port=args.port,
        token=args.token,
        most_bytes=args.max_upload * 1_000_000,
        most_visitors=args.max_visitors,
        idle_seconds=args.idle_minutes * 60,
    )
    config, snapshot = find_tracker(args, model=DEFAULT)
    model, cfg = load_network(config, snapshot, opts=args.opts, threads=1)

    def new_tracker() -> MultiTracker:
        if snapshot.is_dir():  # what runs exported networks serves one thread at a time
            return MultiTracker.from_onnx(snapshot, args.opts)
        return MultiTracker(lambda: build_tracker(model, cfg))

    with stop_requests():
        serve(settings, new_tracker)
