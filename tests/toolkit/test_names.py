import os
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from toolkit.io.names import UniqueNames, fold, printable, safe_name

UNSAFE = [
    "",
    ".",
    "..",
    "/",
    "../a",
    "../../a",
    "a/../../b",
    "/etc/passwd",
    "//server/share/a",
    "C:/a",
    "C:\\a",
    "c:a",
    "\\\\server\\a",
    "..\\..\\a",
    "a\\b",
    "a//b",
    "a/./b",
    "a/",
    "a.",
    "a ",
    "a /b",
    "a./b",
    ".../a",
    " /a",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "a\x7f",
    "\u202eb",
    "\ud800",
    "a" * 256,
    "ü" * 128,
    "a/" * 3000 + "a",
    "b" * 199 + "/" + "c" * 900,
]
SAFE = [
    "a",
    "day 1/pen",
    "a.b",
    ".hidden",
    "images/0",
    "val2017/000000000139",
    "日本/車",
    "a~2",
    "-a",
    "=a",
]


@pytest.mark.parametrize("name", UNSAFE, ids=lambda name: ascii(name)[:20])
def test_unsafe_names_are_changed_and_stay_below_their_folder(name, tmp_path):
    safe = safe_name(name)
    assert safe != name and safe_name(safe) == safe
    for path in (PurePosixPath(safe), PureWindowsPath(safe)):
        assert path.parts and not path.anchor and ".." not in path.parts
    file = tmp_path / safe / "000000.00.x.jpg"
    file.parent.mkdir(parents=True)  # the system takes it
    assert tmp_path in Path(os.path.realpath(file)).parents


@pytest.mark.parametrize("name", SAFE)
def test_safe_names_stay(name):
    assert safe_name(name) == name and UniqueNames().add(name) == name


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a", "a"],
        ["a", "A"],
        ["a", "a~2", "a", "A~2"],
        ["a", "a.", "a ", "a. "],
        ["a/b", "a\\b", "a//b", "/a/b", "../a/b"],
        ["a\x01", "a\x02", "a_"],
        ["..", "/", ".", "_"],
        ["straße", "STRASSE"],
        [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")],
        ["a" * 300, "a" * 301, "a" * 300],
        ["x" * 199 + "yz", "x" * 199 + "yZ"],
    ],
    ids=ascii,
)
def test_each_gets_a_name_of_its_own(names):
    unique = UniqueNames()
    found = [unique.add(name) for name in names]
    assert len(set(map(fold, found))) == len(names)
    assert all(safe_name(name) == name for name in found)


def test_many_of_one_name_are_quick():
    unique = UniqueNames()
    assert [unique.add("a") for _ in range(2000)][-1] == "a~2000"


def test_what_is_shown_has_no_effect_on_a_terminal():
    assert printable("a\n\x1b[31m\ud800é") == r"a\n\x1b[31m\ud800é"
