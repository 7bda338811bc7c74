"""Cards: what the header of a safetensors file says about its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pysot.core.plugins import PluginRecord


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the card of a safetensors file, without its weights; empty if it has none.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, or its card is.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"weights not found: {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("card")
    except OSError:
        raise
    except Exception as error:  # of a class of its own
        raise ValueError(f"{path} is damaged or no safetensors file ({error})") from error
    if text is None:
        return {}
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its card is not JSON ({error})") from error
    if not isinstance(card, dict) or not isinstance(card.get("config", {}), dict):
        raise ValueError(f"{path}: its card is no mapping with the configuration as config")
    return card


def card_config(path: str | Path) -> dict[str, Any]:
    """Return the configuration in a card; ``ValueError`` if it has none.

    A file of weights runs no code: plug-ins that it was made with are only named, by a warning,
    if they are not in use.
    """
    card = read_card(path)
    if not card.get("config"):
        raise ValueError(f"{path} has no card with a configuration; give one with --config")
    if isinstance(card.get("plugins"), dict):
        PluginRecord().load_state_dict(card["plugins"])
    return {key: value for key, value in card["config"].items() if key != "PLUGINS"}
