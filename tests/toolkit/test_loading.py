"""The quick reader of JSON files gives what the plain one gives."""

import json
import math
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.datasets import load_videos
from toolkit.datasets.dataset import parse_records

NUMBERS = st.one_of(
    st.integers(-999, 999), st.floats(width=32), st.just(math.nan), st.just(-math.inf)
)
ROWS = st.one_of(
    st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=3),
    st.lists(st.lists(NUMBERS, min_size=8, max_size=8), min_size=1, max_size=3),
    st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.text(',[]" ', max_size=4),
            st.lists(st.one_of(NUMBERS, st.none(), st.lists(NUMBERS)), max_size=5),
        ),
        max_size=3,
    ),
)
NAMES = st.one_of(
    st.lists(st.text('ab/1.[]{},": \\\néあ', max_size=6), max_size=4),
    st.lists(st.one_of(st.text("a,", max_size=3), st.none(), st.integers(0, 9))),
)
RECORDS = st.dictionaries(
    st.sampled_from(["a", '"gt_rect": [[', "img_names", "\0" + "0"]),
    st.one_of(
        st.fixed_dictionaries({"img_names": NAMES, "gt_rect": ROWS, "attr": NAMES}),
        st.fixed_dictionaries({"more": st.fixed_dictionaries({"gt_rect": ROWS})}),
        st.just({"gt_rect": "\0" + "0", "img_names": '"img_names": ["'}),
        ROWS,
    ),
)
STYLES = [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}]


def plain(value):
    """Lists for arrays, and NaN as something equal to itself."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return "NaN" if value != value else (type(value).__name__, value)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(STYLES))
def test_reads_what_json_reads(records, style):
    text = json.dumps(records, **style)
    assert plain(parse_records(text.encode())) == plain(json.loads(text))


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.data())
def test_a_damaged_text_is_refused_or_read_alike(records, data):
    text = json.dumps(records)
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = (
        text[:place] + data.draw(st.sampled_from(["", "]", '"', ",", "[", "1"])) + text[place:]
    )
    damaged = damaged.encode()
    try:
        expected = json.loads(damaged)
    except ValueError:
        try:
            found = parse_records(damaged)
        except ValueError:
            return
        # what it takes beyond JSON are numbers that any other reader of text would take
        assert all(map(rows_are_numbers, found.values()))
        return
    assert plain(parse_records(damaged)) == plain(expected)


def rows_are_numbers(record):
    rows = record.get("gt_rect") if isinstance(record, dict) else None
    return not isinstance(rows, np.ndarray) or rows.shape[1:] in ((4,), (8,))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ([1, -2, 3, 4], np.int64),
        ([1.5, math.nan, -2.5e-7, 1.5e300], np.float64),
        ([1, 2.5, 3, math.nan], None),
        ([10**16, 2, 3, 4], None),
        ([1, 2, 3], None),
    ],
)
def test_boxes_of_one_type_become_an_array(style, row, kind):
    record = {"img_names": ["a/1.jpg", "a/2.jpg"], "gt_rect": [row] * 2}
    rows = parse_records(json.dumps({"a": record, "b": record}, **style).encode())["a"]["gt_rect"]
    assert isinstance(rows, np.ndarray) == (kind is not None)
    assert kind is None or rows.dtype == kind
    assert plain(rows) == plain([row] * 2)


@pytest.mark.parametrize("text", ['"gt_rect": [[1, ', '"gt_rect": [[1]\n],'])
def test_many_lists_without_an_end_take_no_longer(text):
    begin = time.process_time()
    with pytest.raises(ValueError):
        parse_records(text.encode() * 100_000)
    assert time.process_time() - begin < 5  # minutes, if each were searched to the end of the file


@pytest.mark.parametrize("row", [[1.0, 2.0, 3.0, 4.0], [5.0, 0.0, 10.0, 5.0, 5.0, 10.0, 0.0, 5.0]])
def test_boxes_need_no_list(make_set, row):
    def change(records):
        records["a"]["gt_rect"] = [row, [math.nan] * len(row), row]

    video = load_videos(make_set(change), "Tiny")["a"]
    around = [0, 0, 10, 10] if len(row) == 8 else row
    np.testing.assert_array_equal(video.boxes, [around, [math.nan] * 4, around])
    assert "gt_traj" not in vars(video)
    copy = pickle.loads(pickle.dumps(video))  # as it goes to a worker process
    assert copy.gt_traj[::2] == [row, row] and type(copy.gt_traj) is list
    assert copy.img_names == video.img_names


def test_a_packed_json(make_set):
    import lzma

    root = make_set()
    (root / "Tiny.json.xz").write_bytes(lzma.compress((root / "Tiny.json").read_bytes()))
    (root / "Tiny.json").unlink()
    assert list(load_videos(root, "Tiny")) == ["a", "b"]
    (root / "Tiny.json.xz").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"Tiny\.json\.xz is not valid JSON: cannot be unpacked"):
        load_videos(root, "Tiny")
