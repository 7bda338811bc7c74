"""Commands and code that stand in Markdown, and the parsers that must take the commands."""

import re
import shlex
import string
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from pysot.cli import COMMANDS

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(
    r"^(?P<run><!-- run -->\n)?(?P<indent> *)```(?P<language>\w*)[^\n]*\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.M | re.S,
)
# what starts our programs: words before it, such as torchrun and its options, are not ours
_SCRIPT = re.compile(r"(?:tools|training_dataset|benchmarks|tests)/[\w/]+\.py$")


class Block(NamedTuple):
    """A fenced block of a Markdown file."""

    place: str  # file:line
    language: str
    code: str
    run: bool  # whether the line before says that a test runs it


def blocks(path):
    """List the fenced blocks of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("code"))
        code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.M)
        place = f"{path.relative_to(ROOT).as_posix()}:{line}"
        found.append(Block(place, fence["language"], code, bool(fence["run"])))
    return found


def commands(code):
    """Return the words of each command of a shell block; variables that it sets are put in."""
    variables = {}
    lines = []
    # a quotation may go on in the next line
    for line in _statements(code.replace("\\\n", " ")):
        if setting := re.match(r"(\w+)=(.*)$", line, re.S):
            name, value = setting.groups()
            words = shlex.split(value)
            if len(words) == 1:
                variables[name] = words[0]
                continue
        lines.append([])
        for word in shlex.split(string.Template(line).safe_substitute(variables), comments=True):
            if word in ("&&", "|", ">"):
                lines.append([])
            else:
                lines[-1].append(word)
    return [words for words in lines if words]


def _statements(code):
    statement = ""
    for line in code.splitlines():
        statement = f"{statement}\n{line}" if statement else line
        try:
            shlex.split(statement, comments=True)
        except ValueError:  # a quotation is open
            continue
        yield statement
        statement = ""


def programs(words):
    """Yield the arguments of each of our programs that a command starts, after its name."""
    for index, word in enumerate(words):
        if " pysot " in f" {word} " and " " in word:  # sbatch --wrap '...'
            yield from programs(shlex.split(word))
        elif word.rpartition("/")[2] == "pysot" and words[index - 1] != "-e":
            yield words[index + 1 :]
            return
        elif _SCRIPT.search(word):
            yield [word.removeprefix("./"), *words[index + 1 :]]
            return


def parse(arguments):
    """Let the parser of a command or script read its arguments.

    Raises:
        SystemExit: If it does not take them.
    """
    name, *rest = arguments or ["--help"]
    if name in ("--help", "--version", "-h"):
        return
    if name.endswith(".py"):
        name, rest = _of_script(name, rest)
    if name.endswith(".py"):
        return
    if name not in COMMANDS:
        raise SystemExit(f"unknown command {name}")
    import_module(f"pysot.cli.{name}").parse_args(rest)


def _of_script(script, rest):
    source = (ROOT / script).read_text(encoding="utf-8")
    if command := re.search(r'run_command\("(\w+)"\)', source):
        first = re.findall(r'sys\.argv\.insert\(1, "(\w+)"\)', source)
        return command[1], [*first, *rest]
    known = set(re.findall(r'"(--[\w-]+)"', "".join([source, *_imported(source)])))
    for word in rest:
        if word.startswith("--") and word.split("=")[0] not in known:
            raise SystemExit(f"{script}: unknown option {word}")
    return script, rest


def _imported(source):
    """Yield the text of modules that add options of their own."""
    if "= Parser(" in source:  # which adds those that commands share
        yield (ROOT / "pysot/cli/__init__.py").read_text(encoding="utf-8")
    if found := re.search(r'import_module\("(demo[.\w]*)"\)', source):
        yield (ROOT / f"{found[1].replace('.', '/')}.py").read_text(encoding="utf-8")
