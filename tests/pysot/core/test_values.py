import time

import pytest
import yaml
from yacs.config import CfgNode

from pysot.core.config import default_config, load_config
from pysot.core.registry import Registry
from pysot.models.model_builder import build_model

# as a YAML file has them, quoted or not
LITERALS = """
'20' | "20" | 20 | '0x10' | 0x10 | '1_000' | 1_000 | '0b11' | '-3' | '+3' | ' 7' | '1e3' | 0o17
'0.5' | 1e-5 | 1E-5 | '1e-5' | -1e+2 | 1.e-3 | 1.5e3 | .5 | '.5' | '5.' | 1_0.5 | '0.3f' | 1e999
'True' | 'False' | "'True'" | true | 'true' | 'yes' | yes | 'None' | null | None | 'null' | ~ | ''
"('a', 'b')" | (0.5, 1, 2) | "(0.5, 1, 2)" | "[1, 2]" | [1, 2] | '[[1, 2], [3]]' | "['a']" | '()'
"('layer4',)" | (1) | '1, 2' | 1,2 | '[layer2, layer3]' | "{'a': 1}" | '{1, 2}' | "b'x'" | '1+2j'
text | "'text'" | '"text"' | a/b.pth | C:/a | '1-2' | 2020-1-1x | '[' | '((' | 010 | '010' | 1:30
'nan' | 'inf' | .nan | .inf | '-' | '# a' | 'a b' | "u'x'" | '1 + 1' | '-1e-5' | "('1e-5', 2)"
"""
LITERALS = [text.strip() for line in LITERALS.strip().splitlines() for text in line.split(" | ")]
# key: values that yacs knows, of the same type
KEYS = {
    "TRAIN.BATCH_SIZE": 32,
    "TRAIN.BASE_LR": 0.005,
    "CUDA": True,
    "META_ARC": "name",
    "BACKBONE.TRAIN_LAYERS": ["layer2"],
    "ANCHOR.SCALES": [8],
    "RPN.KWARGS.new": None,
}


def by_yacs(name, default, text):
    """What plain yacs makes of a value; None if it refuses, too."""
    node = root = CfgNode(new_allowed="KWARGS" in name)
    *sections, key = name.split(".")
    for section in sections:
        node[section] = CfgNode(new_allowed="KWARGS" in name)
        node = node[section]
    if "KWARGS" not in name:
        node[key] = default
    values = {key: yaml.safe_load(text)}
    for section in reversed(sections):
        values = {section: values}
    try:
        root.merge_from_other_cfg(CfgNode(values))
    except (ValueError, AssertionError):
        return None
    return node[key]


def found(config, name):
    for key in name.split("."):
        config = config[key]
    return config


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def nested(name, text):
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(name.split("."))]
    return "\n".join(lines) + f" {text}"


# what yacs takes, but no tracker or trainer can use
REFUSED = {
    "TRAIN.BATCH_SIZE": {"'-3'"},
    "TRAIN.BASE_LR": {"-1e+2", "'-1e-5'", "1e999", ".nan", ".inf"},
    "BACKBONE.TRAIN_LAYERS": {
        *("(0.5, 1, 2)", '"(0.5, 1, 2)"', "'1, 2'", "1,2", "[1, 2]", '"[1, 2]"'),
        *("'[[1, 2], [3]]'", "\"('1e-5', 2)\""),
    },
    "ANCHOR.SCALES": {
        *("\"('a', 'b')\"", "'[[1, 2], [3]]'", "\"['a']\"", "\"('layer4',)\"", "\"('1e-5', 2)\""),
    },
    "RPN.KWARGS.new": {"'{1, 2}'", "\"b'x'\"", "'1+2j'", "1e999", ".nan", ".inf"},
}


@pytest.mark.parametrize("name", KEYS)
def test_values_are_those_of_yacs(tmp_path, name):
    refused = set()
    for text in LITERALS:
        theirs = by_yacs(name, KEYS[name], text)
        try:
            ours = found(load_config(write(tmp_path, nested(name, text))), name)
        except ValueError as error:
            assert name in str(error)
            assert "\n" not in str(error)
            refused |= {text} - ({text} if theirs is None else set())
        else:
            if theirs is not None:
                assert (ours, type(ours)) == (theirs, type(theirs)), text
    assert refused == REFUSED.get(name, set())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("TRAIN.BATCH_SIZE", "0x10", 16),
        ("TRAIN.BATCH_SIZE", "010", None),
        ("TRAIN.BATCH_SIZE", "1:30", None),
        ("TRAIN.BATCH_SIZE", "1e3", 1000),
        ("TRAIN.BASE_LR", "1e-5", 1e-5),
        ("TRAIN.BASE_LR", "'0.1'", None),
        ("CUDA", "false", False),
        ("CUDA", "False", False),
        ("META_ARC", "010", "010"),
        ("META_ARC", "2020-01-01", "2020-01-01"),
        ("META_ARC", "true", "true"),
        ("META_ARC", "'a'", "a"),
        ("META_ARC", "None", ""),
        ("META_ARC", "a: b", "a: b"),
        ("BACKBONE.TRAIN_LAYERS", "[layer3, layer4]", ["layer3", "layer4"]),
        ("BACKBONE.TRAIN_LAYERS", "('layer3',)", ["layer3"]),
        ("ANCHOR.SCALES", "4, 8", [4, 8]),
        ("RPN.KWARGS.new", "(1, 2)", (1, 2)),
        ("RPN.KWARGS.new", "true", True),
        ("RPN.KWARGS.new", "1e-5", 1e-5),
        ("RPN.KWARGS", "{new: 1e-5}", {"new": 1e-5}),
        ("RPN.KWARGS.new.part", "2", None),
    ],
)
def test_values_of_a_command_line(name, text, value):
    config = default_config()
    if value is None and name != "RPN.KWARGS.new.part":
        with pytest.raises(ValueError, match=name):
            config.merge_from_list([name, text])
    else:
        config.merge_from_list([name, text])
        assert found(config, name) == (2 if value is None else value)


def test_a_text_that_replaces_a_list_of_keyword_arguments_becomes_one():
    config = default_config()
    config.merge_from_list(["RPN.KWARGS.in_channels", [1, 2]])
    config.merge_from_list(["RPN.KWARGS.in_channels", "(3, 4)"])
    assert config.RPN.KWARGS.in_channels == [3, 4]


DEEP = "[" * 40 + "]" * 40
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n + 1}: &a{n + 1} {{<<: [*a{n}, *a{n}]}}\n" for n in range(40)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(60))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "more than 5000 values"),
        ("a: &a {x: *a}", "contains itself"),
        (CHAIN, "nested more than 30 deep"),
        (MERGES, "more than 5000 values"),
        (f"TRACK: {DEEP}", "nested more than 30 deep"),
        ("TRACK: " + "{a: " * 2000, "nested more than 30 deep"),
        ("TRACK: " + "[" * 9000, "nested more than 30 deep"),
        ("- " * 3000, "nested more than 30 deep"),
        ("a: [" + "1," * 6000 + "]", "more than 5000 values"),
        ("".join(f"a{n}: 1\n" for n in range(500)), "unknown key a0"),
        ("# " + "x" * 200_000, "too large for a configuration"),
        ("TRACK: {LR: " + "1" * 400 + "}", "TRACK.LR: the number is too large"),
        ("TRACK: {LR: " + "1" * 5000 + "}", "config.yaml"),
        ("TRACK: {LR: 0x" + "f" * 5000 + "}", "TRACK.LR: the number is too large"),
        ("META_ARC: 0x" + "f" * 5000, "META_ARC: expected str, found a huge number"),
        ("RPN: {KWARGS: {a: 0x" + "f" * 5000 + "}}", "RPN.KWARGS.a: the number is too large"),
        ("RPN: {KWARGS: {1: 2}}", "RPN.KWARGS: expected names of arguments, found 1"),
        ("RPN: {KWARGS: {a: {null: 2}}}", "RPN.KWARGS.a: expected names of arguments, found None"),
        ("RPN: {KWARGS: {a: [1, .nan]}}", "RPN.KWARGS.a[1] is nan"),
        ("RPN: {KWARGS: {a: '(1, 1e999)'}}", "RPN.KWARGS.a[1] is inf"),
        ("RPN: {KWARGS: {a: 2020-01-01}}", "RPN.KWARGS.a: expected a number, text or list"),
        ("RPN: {KWARGS: {a: !!set {x, y}}}", "RPN.KWARGS.a: expected a number, text or list"),
        ("{1: 2}", "unknown key 1"),
        ("{[1]: 2}", "config.yaml"),
        ("{null: 2, true: 3}", "unknown key None"),
        ("TRACK: {LR: 0.1}\nTRACK: {LR: 0.2}", "the key 'TRACK' stands twice in line 2"),
        ("TRACK:\n  LR: 0.1\n  LR: 0.2", "the key 'LR' stands twice in line 3"),
        ("TRACK:\n\tLR: 0.1", "in line 2"),
        ("TRACK: {LR: {X: 1}}", "TRACK.LR: expected float"),
        ("TRACK: text", "TRACK is a section, found 'text'"),
        ("TRACK: " + "x" * 5000, "TRACK is a section"),
        ("TRACK:", "TRACK is a section, found None"),
        ("RPN: {KWARGS: 5}", "RPN.KWARGS is a section"),
        ("DATASET: {MINE: 5}", "unknown key DATASET.MINE"),
        ("ANCHOR: {RATIOS: [a, b]}", "ANCHOR.RATIOS[0]: expected number, found 'a'"),
        ("ANCHOR: {RATIOS: [[1], 2]}", "ANCHOR.RATIOS[0]: expected number"),
        ("!!python/object/apply:os.system ['true']", "config.yaml"),
        ("TRACK: {LR: !!int abc}", "config.yaml"),
        ("TRACK: {LR: !!bool abc}", "config.yaml"),
        ("a: *b", "config.yaml"),
        ("--- a\n--- b", "config.yaml"),
        ("text", "expected a mapping of sections, found str"),
        (b"\xff\xfe\x00\x01\x02", "config.yaml"),
        (b"\x80\x81TRACK", "config.yaml"),
        (b"TRACK: \x00", "config.yaml"),
        (b"\x1f\x8b\x08\x00binary", "config.yaml"),
        ("TRACK: {INSTANCE_SIZE: 1000000}", "expected a whole number from 1 to 4096"),
        ("TRACK: {CONTEXT_AMOUNT: 1.0e+308}", "TRACK.CONTEXT_AMOUNT: the number is too large"),
        ("TRAIN: {EPOCH: 1000000000000}", "expected a whole number from 1 to 100000"),
    ],
    ids=range(49),
)
def test_what_is_no_configuration_is_one_short_line_at_once(tmp_path, text, words):
    start = time.process_time()
    with pytest.raises(ValueError) as error:
        load_config(write(tmp_path, text))
    message = str(error.value)
    assert words in message
    assert "config.yaml" in message
    assert "\n" not in message
    assert len(message) < 2000
    assert time.process_time() - start < 2


def test_files_of_any_unicode_encoding_and_merge_keys_are_read(tmp_path):
    text = "RPN: {KWARGS: &a {x: 1, y: 1}}\nMASK: {KWARGS: {<<: *a, y: 2}}"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        config = load_config(write(tmp_path, text.encode(encoding)))
        assert config.MASK.KWARGS == {"x": 1, "y": 2}
    assert load_config(write(tmp_path, "")) == default_config()


def test_folders_are_no_files(tmp_path):
    with pytest.raises(OSError, match="is a folder"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ["TRACK.LR", "0.3", "TRACK.LR.X", "1"],
        ["TRACK", "null", "TRACK.LR", "0.3"],
        ["TRACK.LR", "0.3", "TRACK", "null"],
        ["TRACK.LR", "0.3", "TRACK", "{LR: 0.4}"],
        ["TRACK", "5"],
        ["", "1"],
        ["TRACK.", "1"],
        ["TRACK..LR", "1"],
        ["TRACK.LR", "[" * 500],
        ["TRACK.LR", "(" * 500 + ")" * 500],
        ["TRACK.LR", "9" * 5000],
        ["RPN.KWARGS.a", "{1: 2}"],
        ["ANCHOR.RATIOS", "[0, 1]"],
        ["TRACK.CONTEXT_AMOUNT", "1e308"],
        ["TRACK.INSTANCE_SIZE", "1" + "0" * 400],
    ],
)
def test_wrong_options_are_one_short_line(options):
    with pytest.raises(ValueError, match="command line: ") as error:
        default_config().merge_from_list(options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["BACKBONE.KWARGS.self", 1], "BACKBONE.KWARGS do not fit backbone 'alexnet'"),
        (["BACKBONE.KWARGS.name", 1], "BACKBONE.KWARGS do not fit backbone 'alexnet'"),
        (["BACKBONE.KWARGS.width_mult", 1e9], "more than 200000000 weights"),
        (["BACKBONE.KWARGS.width_mult", -1], "BACKBONE.KWARGS.width_mult"),
        (["BACKBONE.KWARGS.width_mult", [1]], "BACKBONE.KWARGS do not fit"),
        (["RPN.KWARGS.in_channels", -5], "RPN.KWARGS do not fit RPN head 'DepthwiseRPN'"),
        (["RPN.KWARGS.in_channels", 1.5], "RPN.KWARGS do not fit RPN head 'DepthwiseRPN'"),
        (["RPN.KWARGS.in_channels", "a"], "RPN.KWARGS do not fit RPN head 'DepthwiseRPN'"),
        (["RPN.KWARGS.in_channels", [64]], "RPN.KWARGS do not fit RPN head 'DepthwiseRPN'"),
        (["RPN.KWARGS.in_channels", None], "RPN.KWARGS do not fit RPN head 'DepthwiseRPN'"),
        (["RPN.KWARGS.out_channels", 10**9], "more than 200000000 weights"),
        (["RPN.KWARGS.anchor_num", 10**9], "more than 200000000 weights"),
        (["RPN.KWARGS.anchor_num", "5.5"], "RPN.KWARGS do not fit"),
        (["RPN.KWARGS", {"feature_in": 64}], "RPN.KWARGS do not fit"),
        (["ANCHOR.RATIOS", []], "ANCHOR.RATIOS and ANCHOR.SCALES make 0 anchors"),
        (["ANCHOR.RATIOS", [1, 2, 3, 4, 100]], "an anchor of ratio 100"),
        (["ANCHOR.RATIOS", [1, 2, 3, 4, 0.001]], "an anchor of ratio 0.001"),
    ],
)
def test_arguments_that_cannot_be_built_name_their_section(options, words):
    config = default_config()
    alexnet = {"in_channels": 64, "out_channels": 64, "anchor_num": 5}
    config.merge_from_list(["BACKBONE.TYPE", "alexnet", "BACKBONE.KWARGS.width_mult", 0.25])
    config.merge_from_list(["ADJUST.ADJUST", False, "RPN.TYPE", "DepthwiseRPN"])
    config.merge_from_list(["RPN.KWARGS", alexnet])
    build_model(config)
    config.merge_from_list(options)
    with pytest.raises(ValueError) as error:
        build_model(config)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_entry_that_fails_names_its_section():
    heads = Registry("head", "RPN.TYPE")
    heads.register("a")(lambda width: 1 / width)
    with pytest.raises(ValueError, match=r"RPN\.KWARGS do not fit head 'a': .*zero"):
        heads.build("a", width=0)
