"""Names from data as paths of output: below their folder, and unique, on every file system."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# control characters, marks that reorder text, and halves of characters that UTF-8 cannot hold
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DRIVE = re.compile("^([A-Za-z]):")
_LONGEST_PART, _LONGEST = 200, 1000  # bytes; systems allow 255 and, with all folders, 4096


def safe_name(name: str) -> str:
    """Return a name as a relative path that stays below its folder on every system.

    A name without roots, drives, ``..``, backslashes, blanks or dots at the end of a part,
    unprintable characters and overlong parts is returned as it is; others lose these.
    """
    text = _DRIVE.sub(r"\1/", _UNPRINTABLE.sub("_", name.replace("\\", "/")))
    parts = [_shortened(part, _LONGEST_PART) for part in text.split("/")]
    return (
        _shortened("/".join(filter(None, (part.rstrip(" .") for part in parts))), _LONGEST) or "_"
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class; never empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def printable(text: str, keep: str = "") -> str:
    r"""Return a text without effects on a terminal or a parser: ESC becomes ``\x1b``.

    So do line ends and tabs, but for the characters to ``keep``.
    """
    return _UNPRINTABLE.sub(
        lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text
    )


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal: two for wide characters, as Chinese."""
    if text.isascii():
        return len(text)
    shown = [c for c in text if not unicodedata.combining(c)]
    return len(shown) + sum(unicodedata.east_asian_width(c) in "WF" for c in shown)


def _shortened(text: str, longest: int) -> str:
    """Cut a text that is too long and mark it with a fingerprint of the whole."""
    data = text.encode()
    if len(data) <= longest:
        return text
    mark = hashlib.blake2b(data, digest_size=8).hexdigest()
    return f"{data[: _LONGEST_PART // 2].decode(errors='ignore').replace('/', '_')}~{mark}"


class UniqueNames:
    """Gives each of some names a safe one of its own, see `safe_name`.

    Names are the same where a file system may think so: if they differ in case or composition.
    """

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}

    def add(self, name: str) -> str:
        """Return the name itself where it is safe and free, else one that is like it."""
        unique = safe_name(name)
        base = folded = fold(unique)
        while folded in self._uses:
            self._uses[base] += 1
            unique = safe_name(f"{safe_name(name)}~{self._uses[base]}")
            folded = fold(unique)
        self._uses[folded] = 1
        return unique


def fold(name: str) -> str:
    """Return what names have in common that a file system may take for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
