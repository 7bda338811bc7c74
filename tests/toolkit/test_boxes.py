import random
import struct
from importlib import import_module
from itertools import chain
from time import perf_counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolkit.io import boxes
from toolkit.io.boxes import (
    NotNumbers,
    box_lines,
    parse_numbers,
    parse_region,
    parse_regions,
    read_number_lines,
    split_fields,
)


def backends():
    names = ["toolkit.io.boxes"]
    try:
        import_module("toolkit.io._numbers")
        names.append("toolkit.io._numbers")
    except ImportError:
        pass
    return names


@pytest.fixture(params=backends())
def backend(request, monkeypatch):
    """Each of the tests runs on the Python and on the compiled version."""
    module = import_module(request.param)
    monkeypatch.setattr(boxes, "_backend", lambda: module)


def bits(values):
    """The doubles as integers, so that signs of zero and the last bit count; one kind of NaN."""
    values = np.asarray(values, np.float64)
    return np.where(np.isnan(values), np.uint64(1), values.view(np.uint64)).tolist()


@pytest.mark.parametrize(
    ("text", "commas", "expected"),
    [
        ("1,2,3,4", True, [[1, 2, 3, 4]]),
        ("1.5,-2,.25,4.\n5e2,+6E-1,0.0,1e400", True, [[1.5, -2, 0.25, 4], [500, 0.6, 0, np.inf]]),
        ("1\n0.1,0.2,0.3,0.4\n2\n0", True, [[1], [0.1, 0.2, 0.3, 0.4], [2], [0]]),
        ("nan,NaN,inf,-Infinity", True, [[np.nan, np.nan, np.inf, -np.inf]]),
        (" 1 ,\t2\r\n3, 4 \r\n5 ,6", True, [[1, 2], [3, 4], [5, 6]]),
        ("1 2\t3\r\n  4   5 ", False, [[1, 2, 3], [4, 5]]),
        ("-0,0.0", True, [[-0.0, 0.0]]),
        # Halfway between two doubles, a bit less and a bit more.
        ("9007199254740993,9007199254740992.9,9007199254740993.1", True, None),
        ("1152921504606847105,1152921504606847104.9,1152921504606847105.1", True, None),
        ("0.3,123456789012345678,1234567890.123456789,5e-324,1.7976931348623157e308", True, None),
        ("1e999999999999999999999,1e-999999999999999999999,0e99999999999", True, None),
        (
            "0" * 40 + "1.5" + "0" * 40 + ",1" + "0" * 40 + "e-40,0." + "0" * 400 + "1e400",
            True,
            None,
        ),
    ],
)
def test_numbers_are_those_of_float(backend, text, commas, expected):
    rows = [row.split("," if commas else None) for row in text.split("\n")]
    values, counts = parse_numbers(text.encode(), commas)
    assert counts.tolist() == [len(row) for row in rows]
    assert bits(values) == bits([float(token) for row in rows for token in row])
    if expected is not None:
        assert bits(values) == bits([*chain.from_iterable(expected)])


@pytest.mark.parametrize("bad", ["", " ", "1,2,", ",1", "1,,2", "1;2", "1 2", "1.2.3", "0x10"])
@pytest.mark.parametrize("end", ["", "\n5,6"])
def test_the_first_bad_line_is_named(backend, bad, end):
    with pytest.raises(NotNumbers, match=r"^line 3: expected numbers, got ") as caught:
        parse_numbers(f"1,2\n3,4\n{bad}{end}".encode())
    assert caught.value.index == 2
    assert caught.value.text == bad


@pytest.mark.parametrize(
    "bad",
    [
        "1_0",
        "\u0661",
        "1e",
        "e5",
        ".",
        "-",
        "+-1",
        "1-",
        "nano",
        "infin",
        "1\x002",
        "1e+",
        "--1",
        "1\x0b",
    ],
)
@pytest.mark.parametrize("commas", [True, False])
def test_what_is_no_number_is_refused(backend, bad, commas):
    with pytest.raises(NotNumbers, match="line 1"):
        parse_numbers(bad.encode(), commas)


def test_an_error_shows_the_start_of_a_long_line(backend):
    with pytest.raises(NotNumbers, match=r"line 1: expected numbers, got 'x{60}'$"):
        parse_numbers(b"x" * 1000)


def one_number(rng):
    """Text of a number of any size, near a halfway point, or as result files have it."""
    kind = rng.randrange(5)
    if kind == 0:
        return repr(struct.unpack("d", rng.randbytes(8))[0])
    if kind == 1:
        return f"{rng.lognormvariate(0, rng.choice([1, 10, 50])):.{rng.randrange(22)}e}"
    if kind == 2:
        return f"{rng.getrandbits(rng.randrange(1, 63))}.{rng.getrandbits(rng.randrange(1, 63))}"
    if kind == 3:
        # An odd multiple of 2^-(k+1) of 54 bits: halfway between two doubles.
        k, odd = rng.randrange(1, 6), rng.getrandbits(53) * 2 + (1 << 53) + 1
        digits = str(odd * 5 ** (k + 1))
        return f"{digits[: -k - 1]}.{digits[-k - 1 :]}"
    return f"{rng.uniform(-50, 2000):.{rng.randrange(18)}f}"


@pytest.mark.parametrize("seed", [0, pytest.param(range(1, 60), marks=pytest.mark.slow)])
def test_every_bit_is_that_of_float(backend, seed):
    for number in [seed] if isinstance(seed, int) else seed:
        rng = random.Random(number)
        tokens = [one_number(rng) for _ in range(20000)]
        values, counts = parse_numbers(",".join(tokens).encode())
        assert counts.tolist() == [len(tokens)]
        assert bits(values) == bits([*map(float, tokens)])


likely = st.text("0123456789.,-+eE \t\r\nnaif_x\x00", max_size=40).map(str.encode)


@given(likely | st.binary(max_size=40), st.booleans())
@example(b"1,2\n", True)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_numbers_or_the_same_error(data, commas):
    outcomes = []
    for name in backends():
        found = import_module(name).parse(data, commas)
        outcomes.append(found if isinstance(found, int) else (bits(found[0]), found[1].tolist()))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    if not isinstance(outcomes[0], int):
        separator = b"," if commas else None
        rows = [line.split(separator) for line in data.split(b"\n")]
        assert outcomes[0] == (bits([float(t) for row in rows for t in row]), [*map(len, rows)])


def test_lines_of_a_file_know_how_they_were_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf1\t2\r\n3 4 5\r\n\n")
    found = read_number_lines(path, "numbers")
    assert (found.values.tolist(), found.counts.tolist()) == ([1, 2, 3, 4, 5], [2, 3])
    assert (found.commas, found.marked) == (False, True)
    path.write_text("1\n2\n")
    assert (read_number_lines(path, "").commas, read_number_lines(path, "").marked) == (True, False)


def test_a_wrong_line_of_a_file_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1,2\n3,4\n5,x\n")
    with pytest.raises(ValueError, match=r"a\.txt: line 3: expected two numbers, got '5,x'"):
        read_number_lines(path, "two numbers")
    path.write_text("1,2\n3\n")
    found = read_number_lines(path, "two numbers")
    with pytest.raises(ValueError, match=r"a\.txt: line 2: expected two numbers, got '3'"):
        found.check(found.counts == 2)
    with pytest.raises(ValueError, match=r"a\.txt: line 9"):
        found._replace(offset=7).check(found.counts == 2)
    path.write_bytes(b" \n")
    with pytest.raises(ValueError, match=r"a\.txt: is empty"):
        read_number_lines(path, "")
    path.write_text("1", encoding="utf-16")
    with pytest.raises(ValueError, match=r"a\.txt: is UTF-16 text"):
        read_number_lines(path, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3,4", [[1, 2, 3, 4]]),
        ("1\t2\t3\t4\r\n5\t6\t7\t8", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ("  1  2 3   4", [[1, 2, 3, 4]]),
        ("1, 2, 3, 4", [[1, 2, 3, 4]]),
        ("01,+2,3.,.5", [[1, 2, 3, 0.5]]),
        ("1e1,-2,3.5,4", [[10, -2, 3.5, 4]]),
        ("1;2;3;4", [[1, 2, 3, 4]]),
    ],
)
def test_separators_and_numbers(text, expected):
    assert parse_regions(text) == expected


def test_ints_stay_ints():
    assert [type(value) for value in parse_regions("1,2.0,3.5,04")[0]] == [int, float, float, int]
    assert np.isnan(parse_regions("NaN nan NAN nan")).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 4 or 8 numbers, got ''$"),
        ("1,2,3,4\n1,2,3", "line 2: expected 4 or 8 numbers, got '1,2,3'$"),
        ("1,2,3,4\n\n1,2,x,4", r"line 2: .* got '' \(and 1 lines more\)$"),
        ("1,2,3,Infinity", "line 1"),
        ("1,2,3,1e999", "line 1"),
        ("1,2,3,true", "line 1"),
        ("1,2,3,1_0", "line 1"),
        ("1,2,3,4],[5,6,7,8", "line 1"),
        ("[1],2,3,4", "line 1"),
    ],
)
def test_what_is_no_region_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_regions(text)


@given(st.text("0123456789.,-+eEnaif_ ;\t", min_size=1, max_size=40))
@example("1,2,3,4")
@settings(max_examples=200, deadline=None)
def test_a_line_is_read_alike_alone_and_among_others(line):
    try:
        among = parse_regions(f"1,2,3,4\n{line}")[1]
    except ValueError:
        among = None
    alone = parse_region(split_fields(line)[0])
    assert repr(alone) == repr(among)


@pytest.mark.parametrize("text", ["1,2,3," + "9" * 400, "1,2,3,1e30", "[" * 5000])
def test_absurd_numbers_and_nesting_are_no_regions(text):
    with pytest.raises(ValueError, match="line 1"):
        parse_regions(text)


def test_the_time_for_lines_below_a_header_grows_with_their_number():
    text, begin = "x,y,w,h\n" + "1,2,3,4\n" * 30_000, perf_counter()
    lines = box_lines(text, 30_000, 30_000)
    assert (min(lines), max(lines), len(lines)) == (2, 30_001, 30_000)
    assert perf_counter() - begin < 3  # not the 20 s of a search for each line
