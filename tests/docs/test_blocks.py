"""Commands and code of README and docs: the parsers take the commands, Python compiles."""

import re

import pytest
import yaml
from command_lines import ROOT, blocks, commands, parse, programs

from pysot import cli
from pysot.cli import COMMANDS, main

PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "demo/README.md")),
        *ROOT.glob("*ing_dataset/README.md"),
        *ROOT.glob("examples/plugins/*/README.md"),
        *ROOT.glob("docs/**/*.md"),
    ]
)
BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(*languages):
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


@pytest.fixture(autouse=True)
def plugins_of_readers(monkeypatch):
    """Plug-ins that pages name are the reader's: they are not there to be imported."""
    monkeypatch.setattr(cli, "load_plugins", lambda names: names)


@of("bash")
def test_commands_are_taken_by_their_parsers(block):
    for words in commands(block.code):
        for arguments in programs(words):
            try:
                parse(arguments)
            except SystemExit as stop:
                pytest.fail(f"{block.place}: {' '.join(arguments)}: {stop}")


@of("bash")
def test_extras_and_targets_exist(block):
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r'^(\w+) = \["', project.partition("optional-dependencies]")[2], re.M)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for name in re.findall(r"(?:\.|pysot-tracking)\[([\w,]+)\]", block.code):
        assert set(name.split(",")) <= set(extras), block.place
    for words in commands(block.code):
        if words[0] == "make":
            wanted = {word for word in words[1:] if "=" not in word and word[0] != "-"}
            assert wanted <= set(targets), block.place


@of("python")
def test_python_compiles_and_quick_blocks_run(block, tmp_path, monkeypatch):
    code = compile(block.code, block.place, "exec")
    if block.run:
        monkeypatch.chdir(tmp_path)
        exec(code, {"__name__": "page"})


@of("yaml")
def test_yaml_can_be_read(block):
    assert yaml.safe_load(block.code)


def test_every_block_says_its_language():
    assert [block.place for block in BLOCKS if not block.language] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_stand_in_fenced_blocks(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^ {4}(?:pysot|python|torchrun|pip|make) .*", text, re.M) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_the_help_are_taken(name, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["pysot"])
    with pytest.raises(SystemExit):
        main([name, "--help"])
    examples = capsys.readouterr().out.partition("\nexamples:\n")[2]
    found = [arguments for words in commands(examples) for arguments in programs(words)]
    assert name in {arguments[0] for arguments in found}
    for arguments in found:
        parse(arguments)
