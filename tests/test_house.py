"""The house rules that a machine can check: where things are, their sizes, names and imports."""

import ast
import fnmatch
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs",
    "gateway",
    "loadtest",
    "protocol",
    "pyproject.toml",
    "tests",
}
# Modules without a test file of their own name, each with the reason.
TESTED_ELSEWHERE = {
    "gateway/__main__.py": "two lines, run by tests/gateway/test_cli.py as `python -m gateway`",
    "gateway/arguments.py": "the options of the commands, which tests/gateway/test_cli.py runs",
    "gateway/terminal.py": "what commands print, which tests/gateway/client/test_shell.py reads",
    "gateway/broker.py": "an interface; each broker is tested",
}
# Folders of tests that mirror no package, each with the reason.
TEST_FOLDERS_OF_THEIR_OWN = {
    "autobahn": "runs a test-suite from outside against the whole",
    "gateway/promise": "plays everything at once against a whole node",
    "gateway/web/differential": "compares the whole of gateway.web with aiohttp",
    "gateway/web/programs": "programs as users write them, which the tests beside it check and run",
}
MEANINGLESS_NAMES = {"base", "common", "helpers", "misc", "types", "util", "utils"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10
MOST_FUNCTION_LINES = 30

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def find_files(*folders: str, suffix: str = ".py") -> list[str]:
    paths = [path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}")]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


MODULES = find_files("gateway", "protocol", "loadtest")
MIRRORED = [module for module in find_files("gateway", "protocol") if "__init__" not in module]
PACKAGES = [module for module in MODULES if module.endswith("__init__.py")]
WRITTEN = [
    *find_files("gateway", "protocol", "loadtest", "tests"),
    *find_files("gateway", suffix=".js"),
    *find_files("gateway", suffix=".css"),
    *find_files("gateway", suffix=".html"),
]


def parse(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def find_public(parent: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Yield the public classes, functions and methods of parent; not what functions define."""
    for node in parent.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from find_public(node)


def is_documented_elsewhere(node: Definition) -> bool:
    """Tell whether node belongs to another of its name: an overload, or a property's setter."""
    names = [ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list]
    return not {"overload", "setter", "deleter"}.isdisjoint(names)


def measure(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring and decorators."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def measure_functions(path: str) -> dict[str, int]:
    nodes = ast.walk(parse(path))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        f"{path}:{node.lineno} {node.name}": measure(node)
        for node in nodes
        if isinstance(node, functions)
    }


@pytest.mark.parametrize("module", MIRRORED)
def test_every_module_has_the_test_file_that_mirrors_it(module):
    source = Path(module)
    test = Path("tests") / source.parent / f"test_{source.name}"
    is_tested = (ROOT / test).exists() or module in TESTED_ELSEWHERE
    assert is_tested, f"{test} is missing"


def test_the_list_of_modules_tested_elsewhere_is_up_to_date():
    superfluous = [
        module
        for module in TESTED_ELSEWHERE
        if not (ROOT / module).exists()
        or (ROOT / "tests" / Path(module).parent / f"test_{Path(module).name}").exists()
    ]
    assert superfluous == []


def test_test_folders_mirror_packages_and_are_none_themselves():
    folders = [path for path in (ROOT / "tests").rglob("*") if path.is_dir()]
    names = {str(path.relative_to(ROOT / "tests")) for path in folders if any(path.glob("*.py"))}
    assert TEST_FOLDERS_OF_THEIR_OWN.keys() <= names
    names -= TEST_FOLDERS_OF_THEIR_OWN.keys()
    assert [name for name in sorted(names) if not (ROOT / name / "__init__.py").exists()] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("path", WRITTEN)
def test_a_file_over_400_lines_says_why_at_its_top(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    has_reason = any(f"{MAX_FILE_LINES} lines" in line for line in lines[:20])
    is_fine = len(lines) <= MAX_FILE_LINES or has_reason
    assert is_fine, f"{len(lines)} lines, and its first 20 do not say why over 400 lines"


@pytest.mark.parametrize("path", [*MODULES, *find_files("tests")])
def test_no_function_is_longer_than_a_screen(path):
    lengths = measure_functions(path)
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_most_functions_are_short():
    lengths = [n for path in MODULES for n in measure_functions(path).values()]
    assert statistics.median(lengths) <= MEDIAN_FUNCTION_LINES
    assert statistics.quantiles(lengths, n=10)[-1] <= MOST_FUNCTION_LINES


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module):
    tree = parse(module)
    assert ast.get_docstring(tree), "the module has none"
    without = [
        f"{node.name} in line {node.lineno}"
        for node in find_public(tree)
        if not ast.get_docstring(node) and not is_documented_elsewhere(node)
    ]
    assert without == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_name_of_its_own_that_means_something(module):
    path = Path(module)
    name = path.parent.name if path.stem == "__init__" else path.stem
    assert name not in sys.stdlib_module_names
    assert name not in MEANINGLESS_NAMES


@pytest.mark.parametrize("module", PACKAGES)
def test_a_package_only_re_exports(module):
    docstring, *rest = parse(module).body
    assert isinstance(docstring, ast.Expr)
    for node in rest:
        is_export_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert isinstance(node, ast.ImportFrom) or is_export_list, ast.unparse(node)


@pytest.mark.parametrize("module", MODULES)
def test_imports_for_types_are_imports_like_others(module):
    names = {node.id for node in ast.walk(parse(module)) if isinstance(node, ast.Name)}
    attributes = {n.attr for n in ast.walk(parse(module)) if isinstance(n, ast.Attribute)}
    assert "TYPE_CHECKING" not in names | attributes


def test_the_top_level_is_fixed():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    patterns = [pattern.rstrip("/") for pattern in ignored] + [".*"]
    found = {
        path.name
        for path in ROOT.iterdir()
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
    }
    assert found - TOP_LEVEL == set()


def test_imports_point_down():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
