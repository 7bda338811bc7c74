"""Which package may import which, and what public functions must say of themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path.relative_to(ROOT)
    for package in ("pysot", "toolkit", "tools")
    for path in sorted((ROOT / package).rglob("*.py"))
]
IDS = [str(path) for path in FILES]

# what a package must not import: imports go down only, and toolkit stands alone
_RESULTS = ("toolkit.results", "toolkit.protocols")
_SCORES = ("toolkit.evaluation", "toolkit.visualization", "toolkit.report", "toolkit.legacy")
FORBIDDEN = {
    "toolkit": ("pysot", "torch", "yacs", "tools"),
    "toolkit/datasets": (*_RESULTS, *_SCORES),
    "toolkit/results": ("toolkit.protocols", *_SCORES),
    "toolkit/protocols": _SCORES,
    "toolkit/evaluation": ("toolkit.report", "toolkit.legacy"),
    "toolkit/visualization": ("toolkit.report", "toolkit.legacy"),
    "toolkit/report": ("toolkit.legacy",),
    "pysot": ("tools",),
    "pysot/core": (
        "pysot.cli",
        "pysot.utils",
        "pysot.models",
        "pysot.datasets",
        "pysot.engine",
        "pysot.tracker",
    ),
    "pysot/utils": ("pysot.cli", "pysot.models", "pysot.datasets", "pysot.engine", "pysot.tracker"),
    "pysot/models": ("pysot.cli", "pysot.datasets", "pysot.engine", "pysot.tracker"),
    "pysot/datasets": ("pysot.cli", "pysot.engine", "pysot.tracker"),
    "pysot/tracker": ("pysot.cli", "pysot.datasets", "pysot.engine"),
    "pysot/engine": ("pysot.cli",),
}
# only the doors of a package see the configuration; what they build takes plain arguments
READS_CONFIG = ("build.py", "_builder.py", "config.py")
# slow to import or optional: imported where they are used
ON_USE = ("matplotlib", "tensorboardX", "torchvision")


def imports(path, top_level_only=False):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_go_down_only(path):
    rules = [names for package, names in FORBIDDEN.items() if str(path).startswith(package + "/")]
    wrong = [n for n in imports(path) for names in rules for bad in names if within(n, bad)]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_optional_and_slow_packages_are_imported_where_used(path):
    found = imports(path, top_level_only=True)
    assert [name for name in found for slow in ON_USE if within(name, slow)] == []


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "pysot"], ids=str)
def test_only_builders_see_the_configuration(path):
    if path.name.endswith(READS_CONFIG) or path.parts[1] == "cli":
        return
    assert [name for name in imports(path) if within(name, "pysot.core.config")] == []


def public_functions(tree):
    """Public functions and methods of a module, with the class they belong to."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
                    yield item
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def is_typed(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named = [a for a in named if a.arg not in ("self", "cls")]
    return function.returns is not None and all(a.annotation is not None for a in named)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_public_functions_are_documented_and_typed(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = list(public_functions(tree))
    assert [f.name for f in functions if not ast.get_docstring(f)] == []
    assert [f.name for f in functions if not is_typed(f)] == []


def test_the_rules_find_what_they_forbid(tmp_path, monkeypatch):
    monkeypatch.setattr("test_architecture.ROOT", tmp_path)
    path = Path("toolkit/bad.py")
    (tmp_path / "toolkit").mkdir()
    (tmp_path / path).write_text("import matplotlib\nfrom pysot import x\ndef f(a): pass\n")
    for test in (
        test_imports_go_down_only,
        test_optional_and_slow_packages_are_imported_where_used,
        test_public_functions_are_documented_and_typed,
    ):
        with pytest.raises(AssertionError):
            test(path)
