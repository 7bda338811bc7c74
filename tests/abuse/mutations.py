"""Wrong inputs made of right ones: structure first, then bytes.

Everything is drawn from a generator that is given, so that a number names an input.
"""

import copy
import math
import re

NUMBERS = (
    *(0, 1, -1, 2, 7, 255, 65536, 2**31, 2**63, 2**64, -(2**31), 10**30, 10**400),
    *(-0.0, 0.5, -0.5, 1e-320, 1e-9, 1e9, 1e308, -1e308, math.nan, math.inf, -math.inf),
)
NAMES = (
    *("", " ", ".", "..", "../x", "../../x", "/", "//", "a/b", "a//b", "a\\b", "C:\\x", "~", "-x"),
    *("\0", "a\0b", "\n", "a\nb", "\t", "\x1b[31m", "x" * 300, "x" * 5000, "a/" * 400, "=1+1"),
    *("ü", "目标", "\ud800", "\u202e", "²", "٣", "%s", "{0}", "{video}", "$HOME", "*", "[", "?"),
    *("1", "01", "-1", "1e5", "nan", "null", "true", "NaN", "1,2", "000001.jpg", ".hidden", "con"),
    *("<b>", "&amp;", '"', "'", "`id`", "#", ":", "|", "1_0", "0x10", "__class__", "../x.jpg"),
)


def nested(depth, kind=list):
    value = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def evil(rng):
    """A value that hardly any field expects."""
    kinds = (
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice(NAMES),
        lambda: rng.choice((None, True, False)),
        lambda: rng.choice(([], {}, [[]], [None], {"": None}, [{}], [[], []], {"a": 1}, [1] * 5)),
        lambda: [rng.choice(NUMBERS) for _ in range(rng.choice((1, 2, 3, 4, 5, 6, 8)))],
        lambda: nested(rng.choice((3, 50)), rng.choice((list, dict))),
    )
    return rng.choice(kinds)()


def places(value, holder=None, key=None):
    """All nodes of a document: what holds each, and under which key."""
    yield holder, key
    if isinstance(value, dict):
        for name, item in list(value.items()):
            yield from places(item, value, name)
    elif isinstance(value, list):
        for index, item in enumerate(list(value)):
            yield from places(item, value, index)


def mutated(document, rng, most=3, evil=evil):
    """A copy with some nodes replaced, deleted, doubled, swapped, retyped or renamed."""
    root = [copy.deepcopy(document)]
    for _ in range(rng.randint(1, most)):
        found = [place for place in places(root[0], root, 0) if place[0] is not root]
        if not found or rng.random() < 0.02:
            root[0] = evil(rng)
            continue
        # a leaf of a long list is as likely as any: half of the time take a node high up
        holder, key = rng.choice(found if rng.random() < 0.5 else found[:40])
        rng.choice((_replace, _replace, _tweak, _delete, _double, _swap, _retype, _rename))(
            holder, key, rng, evil
        )
    return root[0]


def _replace(holder, key, rng, evil):
    holder[key] = evil(rng)


def _delete(holder, key, rng, evil):
    del holder[key]


def _double(holder, key, rng, evil):
    if isinstance(holder, list):
        holder.insert(rng.randint(0, len(holder)), copy.deepcopy(holder[key]))
    else:
        holder[rng.choice(NAMES)] = copy.deepcopy(holder[key])


def _swap(holder, key, rng, evil):
    other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _retype(holder, key, rng, evil):
    value = holder[key]
    if isinstance(value, (int, float)):
        holder[key] = rng.choice((str(value), [value], float(value), bool(value), {"a": value}))
    elif isinstance(value, str):
        holder[key] = rng.choice(([value], {value: value}, len(value), list(value), value.encode))
        holder[key] = value.upper() if callable(holder[key]) else holder[key]
    elif isinstance(value, list):
        holder[key] = rng.choice((dict(enumerate(map(str, value))), value[:1], value * 2, [value]))
    else:
        holder[key] = rng.choice((str(value), [value], None))


def _tweak(holder, key, rng, evil):
    value = holder[key]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = rng.choice((-value, value * 1000, value + 0.25, value - 1, value + 10**6))
    elif isinstance(value, str):
        at = rng.randint(0, len(value))
        holder[key] = value[:at] + rng.choice(NAMES) + value[at:]
    elif isinstance(value, list):
        rng.shuffle(value)


def _rename(holder, key, rng, evil):
    if isinstance(holder, dict):
        holder[rng.choice(NAMES)] = holder.pop(key)
    else:
        holder[key] = rng.choice(holder)


# -------------------------------------------------------------------------------- text and bytes


def mutated_text(data, rng, most=3):
    """A copy of the bytes of a text with tokens and lines replaced, moved, cut or recoded."""
    for _ in range(rng.randint(1, most)):
        steps = (_number, _number, _line, _cut, _insert, _encode, *[_flip] * 2)
        data = rng.choice(steps)(data, rng)
    return data


def mutated_bytes(data, rng, most=8):
    """A copy with bits flipped, spans cut out, doubled or zeroed, or its end lost."""
    for _ in range(rng.randint(1, most)):
        data = rng.choice((_flip, _flip, _flip, _cut, _span, _head))(data, rng)
    return data


def _number(data, rng):
    found = list(re.finditer(rb"-?\d[\d.]*", data))
    if not found:
        return data
    one = rng.choice(found)
    text = str(rng.choice((*NUMBERS, *NAMES))).encode("utf-8", "surrogatepass")
    return data[: one.start()] + text + data[one.end() :]


def _line(data, rng):
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(4)
    if action == 0:
        del lines[at]
    elif action == 1:
        lines.insert(at, lines[other])
    elif action == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines.insert(
            at, rng.choice((b"\n", b"#\n", b"x,y,w,h\n", b"\r\n", b" \n", b"nan\n", b",\n"))
        )
    return b"".join(lines)


def _cut(data, rng):
    begin = rng.randint(0, len(data))
    return data[:begin] if rng.random() < 0.5 else data[:begin] + data[begin + rng.randint(1, 40) :]


def _insert(data, rng):
    at = rng.randint(0, len(data))
    bombs = (
        b"[" * 5000,
        b'{"a":' * 5000,
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"9" * 5000,
        b"-" * 9,
    )
    signs = (
        b",",
        b"\t",
        b" ",
        b";",
        b"\n",
        b'"',
        b"'",
        b"<",
        b">",
        b"&",
        b"e",
        b".",
        b"*a",
        b"&a ",
    )
    return data[:at] + rng.choice((*bombs, *signs, *signs)) + data[at:]


def _encode(data, rng):
    mark, code = rng.choice(
        ((b"\xef\xbb\xbf", ""), (b"", "utf-16"), (b"", "latin-1"), (b"", "crlf"))
    )
    if code == "crlf":
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n")))
    return mark + (data.decode("utf-8", "replace").encode(code, "replace") if code else data)


def _flip(data, rng):
    if not data:
        return data
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _head(data, rng):
    """Another byte in the head of a file, where formats keep their sizes."""
    changed = bytearray(data)
    if changed:
        changed[rng.randrange(min(len(data), 64))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _span(data, rng):
    begin = rng.randint(0, len(data))
    end = min(len(data), begin + rng.randint(1, 60))
    middle = rng.choice((b"\0" * (end - begin), data[begin:end] * 2, b"\xff" * (end - begin)))
    return data[:begin] + middle + data[end:]
