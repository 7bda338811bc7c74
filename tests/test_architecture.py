"""Which package may import which, and what functions must look like."""

import ast
import re
from pathlib import Path

import pytest

from pysot.core.settings import Key, Settings, declared

ROOT = Path(__file__).parents[1]
FILES = [
    path.relative_to(ROOT)
    for package in ("pysot", "toolkit", "tools")
    for path in sorted((ROOT / package).rglob("*.py"))
]
IDS = [str(path) for path in FILES]

# A package imports only from floors below its own, or from its own where that makes no circle.
FLOORS = (
    ("toolkit.io",),
    ("toolkit.utils",),
    ("toolkit.datasets",),
    ("toolkit.results",),
    ("toolkit.protocols",),
    ("toolkit.evaluation", "toolkit.visualization"),
    ("toolkit.report",),
    ("toolkit.legacy",),
    ("pysot.core", "pysot.utils"),
    ("pysot.zoo",),
    ("pysot.models",),
    ("pysot.inference", "pysot.datasets", "pysot.tracker", "pysot.engine"),
    ("pysot.export", "pysot.tuning", "pysot.web"),
    ("pysot.cli",),
    ("pysot.__init__", "pysot.__main__", "tools"),
)
LEVEL = {package: level for level, packages in enumerate(FLOORS) for package in packages}
# What still breaks the rules: pairs of packages in a circle, packages without a floor, functions
# that are too long. Nothing is added here, and what is no longer needed must go.
CIRCLES: set[tuple[str, str]] = set()
WITHOUT_FLOOR: set[str] = set()
LONG: set[str] = set()
# what the ground floors do without
STANDS_ALONE = {"toolkit": ("torch", "yacs")}
# only the doors of a package see the configuration; what they build takes plain arguments
READS_CONFIG = ("build.py", "_builder.py", "config.py", "lr_scheduler.py")
# slow to import or optional: imported where they are used
ON_USE = ("jinja2", "matplotlib", "mlflow", "optuna", "ray", "tensorboardX", "torchvision", "wandb")


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


def package_of(name):
    """The package of a module, as the table of floors has it; None for what is not ours."""
    first, *rest = name.split(".")
    if first not in ("pysot", "toolkit", "tools"):
        return None
    if first == "tools":
        return first
    return f"{first}.{rest[0]}" if rest else f"{first}.__init__"


def module_of(path):
    return ".".join(path.with_suffix("").parts)


def imported_packages(path):
    return {package_of(name) for name in imports(path)} - {None, package_of(module_of(path))}


def is_above(package, other):
    """Whether ``other`` is on a higher floor; names of ``pysot`` itself are what it exports."""
    return other in LEVEL and LEVEL[other] > LEVEL[package]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_go_down_only(path):
    package = package_of(module_of(path))
    if path.parts == ("toolkit", "__init__.py"):
        assert not list(imports(path))
        return
    if package in WITHOUT_FLOOR:
        return
    assert package in LEVEL, "a package needs a floor"
    higher = {name for name in imported_packages(path) if is_above(package, name)}
    assert higher == set()
    banned = STANDS_ALONE.get(path.parts[0], ())
    assert [name for name in imports(path) for bad in banned if within(name, bad)] == []


def circles():
    """Pairs of packages that import each other, if only by way of others."""
    edges = {}
    for path in FILES:
        edges.setdefault(package_of(module_of(path)), set()).update(imported_packages(path))
    reached = {package: reachable(package, edges) for package in edges}
    return {(a, b) for a in edges for b in reached[a] if a < b and a in reached.get(b, set())}


def reachable(package, edges):
    found, new = set(), {package}
    while new:
        new = set().union(*(edges.get(name, set()) for name in new)) - found
        found |= new
    return found


def test_no_packages_import_each_other_in_a_circle():
    found = circles()
    assert found - CIRCLES == set()
    assert CIRCLES - found == set(), "no circle any more: take it off the list"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_optional_and_slow_packages_are_imported_where_used(path):
    found = imports(path, top_level_only=True)
    assert [name for name in found for slow in ON_USE if within(name, slow)] == []


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "pysot"], ids=str)
def test_only_builders_see_the_configuration(path):
    if path.name.endswith(READS_CONFIG) or path.parts[1] == "cli":
        return
    assert [name for name in imports(path) if within(name, "pysot.core.config")] == []


def constant_tables(tree):
    """Names in dictionaries of constants, as defaults and limits would be written."""
    constants = (ast.Constant, ast.Tuple, ast.List, ast.UnaryOp)
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and all(isinstance(v, constants) for v in node.values):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant))


def key_names(section=Settings):
    for name, known in declared(section).items():
        yield name
        if not isinstance(known, Key):
            yield from key_names(known)


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "pysot"], ids=str)
def test_configuration_keys_are_declared_in_one_place(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert set(constant_tables(tree)) & set(key_names()) == set()


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "pysot"], ids=str)
def test_keys_that_the_code_reads_are_declared(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for chain in re.findall(r"\bcfg((?:\.[A-Z][A-Z_]+)+)", text):
        section = Settings
        for name in chain[1:].split("."):
            known = declared(section)
            assert name in known, f"cfg{chain}"
            section = known[name]
            if isinstance(section, Key):
                break


def own_length(function):
    """Lines of a function without its docstring."""
    text = ast.get_docstring(function, clean=False)
    total = function.end_lineno - function.lineno + 1
    return total - (len(text.splitlines()) if text else 0)


def long_functions(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if own_length(f) > 40}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_functions_are_short(path):
    assert long_functions(path) - LONG == set()


def test_exceptions_are_still_needed():
    message = "no exception any more: take it off the list"
    assert set().union(*map(long_functions, FILES)) >= LONG, message
    assert {package_of(module_of(path)) for path in FILES} >= WITHOUT_FLOOR, message


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
    path = Path("toolkit/io/bad.py")
    (tmp_path / path.parent).mkdir(parents=True)
    (tmp_path / path).write_text(
        "import matplotlib\nfrom toolkit.results import x\ndef f(a): pass\n"
        'LIMITS = {"EPOCH": (1, 2)}\ncfg.TRACK.LRR\ndef g():\n' + 41 * "    x = 1\n"
    )
    for test in (
        test_imports_go_down_only,
        test_optional_and_slow_packages_are_imported_where_used,
        test_public_functions_are_documented_and_typed,
        test_functions_are_short,
        test_configuration_keys_are_declared_in_one_place,
        test_keys_that_the_code_reads_are_declared,
    ):
        with pytest.raises(AssertionError):
            test(path)


def test_toolkit_must_not_import_torch(tmp_path, monkeypatch):
    monkeypatch.setattr("test_architecture.ROOT", tmp_path)
    (tmp_path / "toolkit" / "io").mkdir(parents=True)
    (tmp_path / "toolkit" / "io" / "bad.py").write_text("import torch.nn\n")
    with pytest.raises(AssertionError):
        test_imports_go_down_only(Path("toolkit/io/bad.py"))


def test_circles_are_found(tmp_path, monkeypatch):
    texts = {
        "toolkit/io/a.py": "import toolkit.utils.b",
        "toolkit/utils/b.py": "from toolkit.datasets import c",
        "toolkit/datasets/c.py": "from toolkit import io",
        "toolkit/results/d.py": "from toolkit.io import a",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("test_architecture.ROOT", tmp_path)
    monkeypatch.setattr("test_architecture.FILES", [Path(name) for name in texts])
    names = ("toolkit.datasets", "toolkit.io", "toolkit.utils")
    assert circles() == {(names[0], names[1]), (names[0], names[2]), (names[1], names[2])}
    with pytest.raises(AssertionError):
        test_no_packages_import_each_other_in_a_circle()


def test_the_homes_of_concepts_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## One home per concept")[2].partition("\n## ")[0]
    homes = re.findall(r"`([a-z_]+/[^`]*)`", table)
    assert len(homes) > 40
    assert [home for home in homes if not (ROOT / home).exists()] == []
