"""What holds the house together: imports go downwards, the map is true, the wheel is whole. Pure."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import known_breaches
import pytest
import tree_kit

import claude_nb

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "claude_nb"

# From the top of the house to its foundation. Whatever a module of it reaches, straight or by a detour, is
# none of those above it.
SPINE = [
    "cli",
    "extension",
    "magics",
    "session_manager",
    "session",
    "process",
    "launch",
    "processes",
    "guard",
]
# What a person meets in a notebook; below it stands the core.
FRONT = ("answers", "commands", "completion", "extension", "magics", "prompt_line", "verbatim")
NO_FRAMEWORK = ("asyncio", "subprocess", "traitlets", "IPython", "ipykernel")


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def dependencies() -> list[str]:
    return list(project()["dependencies"])


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "_notebooks" not in p.parts)


def room(path: Path) -> str:
    """The part of the house that a file belongs to: `render` for `render/cards.py`."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """The modules that a file imports when it runs; what is imported for type checking is left out."""
    return imports_of(path, [ast.parse(path.read_text())], top_level=top_level)


def imports_for_types(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports for type checking only."""
    guarded = [node for node in ast.walk(ast.parse(path.read_text())) if is_for_types(node)]
    return imports_of(path, [statement for node in guarded for statement in node.body])


def imports_of(path: Path, pending: list[ast.AST], *, top_level: bool = False) -> Iterator[str]:
    while pending:
        node = pending.pop()
        inside_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_for_types(node) or is_display_hook(node) or (top_level and inside_function):
            pending += getattr(node, "orelse", [])
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from whole_names(node)
        pending += ast.iter_child_nodes(node)


def whole_names(node: ast.ImportFrom) -> Iterator[str]:
    """`from claude_nb import guard` imports `claude_nb.guard`."""
    base = node.module or ""
    for alias in node.names:
        yield f"{base}.{alias.name}" if base == "claude_nb" else base


def is_for_types(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def is_display_hook(node: ast.AST) -> bool:
    """IPython calls it to show a value; only then does a Reply need to know how replies are shown."""
    return isinstance(node, ast.FunctionDef) and node.name == "_ipython_display_"


def our_rooms(path: Path) -> set[str]:
    """The other rooms of ours that a file imports."""
    return rooms_of(imports(path)) - {room(path)}


def rooms_of(names: Iterator[str]) -> set[str]:
    found = {name.split(".")[1] for name in names if name.startswith("claude_nb.")}
    return {name for name in found if not name.startswith("__")}


@functools.cache
def graph() -> dict[str, set[str]]:
    """Each room with those it imports, but for the package's `__init__`: it hands out names when asked."""
    found: dict[str, set[str]] = {}
    for path in modules():
        if room(path) != "__init__":
            found.setdefault(room(path), set()).update(our_rooms(path))
    return found


@functools.cache
def graph_with_types() -> dict[str, set[str]]:
    """The same with what is imported for type checking only."""
    found = {name: set(rooms) for name, rooms in graph().items()}
    for path in modules():
        if room(path) != "__init__":
            found[room(path)] |= rooms_of(imports_for_types(path)) - {room(path)}
    return found


def reach(name: str, through: dict[str, set[str]] | None = None) -> set[str]:
    """All that a room imports, and what that imports in turn."""
    through = through or graph()
    found: set[str] = set()
    pending = [name]
    while pending:
        new = through[pending.pop()] - found
        found |= new
        pending += new
    return found


def documented_map() -> set[str]:
    """The names in the first columns of the map in the package's docstring."""
    doc = claude_nb.__doc__ or ""
    lines = doc.split("imports go downwards only:")[1].splitlines()
    names: set[str] = set()
    for line in lines:
        entry = re.match(r"    (\w+)/?  +\S", line)
        if entry:
            names.add(entry[1])
            names.update(re.findall(r"\S  +(\w+)/?  +\S", line))
    return names


def test_the_map_names_every_module_and_no_other() -> None:
    there = {room(path) for path in modules()} - {"__init__"}
    assert documented_map() == there


def test_imports_never_go_in_a_circle() -> None:
    list(graphlib.TopologicalSorter(graph()).static_order())


def test_imports_for_types_close_no_new_circle() -> None:
    reached = {name: reach(name, graph_with_types()) for name in graph()}
    circles = {
        name: {other for other in rooms - graph()[name] if name in reached[other]}
        for name, rooms in graph_with_types().items()
    }
    only_known(circles, known_breaches.IMPORTS_FOR_TYPES, "imports for types in a circle")


def test_nobody_sets_an_attribute_of_anothers_object_or_uses_its_private_names() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): tree_kit.foreign(path) for path in core()}
    only_known(found, known_breaches.FOREIGN, "uses of what is another object's")


def core() -> list[Path]:
    """What a session is made of: all single modules but those that a person meets, and the questions."""
    single = [path for path in PACKAGE.glob("*.py") if path.stem not in FRONT]
    return sorted([*single, *(PACKAGE / "asking").glob("*.py")])


def only_known(found: dict[str, set[str]], known: dict[str, list[str]], what: str) -> None:
    """Compare with a list of `known_breaches`, in both directions."""
    new = {name: sorted(each - {*known.get(name, ())}) for name, each in found.items()}
    gone = {name: sorted({*each} - found.get(name, set())) for name, each in known.items()}
    assert not any(new.values()), f"new {what}: {shown(new)}\nSay it to the owner by a method, or move it."
    assert not any(gone.values()), f"mended {what}; take from tests/known_breaches.py: {shown(gone)}"


def shown(breaches: dict[str, list[str]]) -> str:
    return "".join(f"\n  {name}: {each}" for name, each in breaches.items() if each)


@pytest.mark.parametrize("name", SPINE)
def test_imports_never_go_up(name: str) -> None:
    up = reach(name) & {*SPINE[: SPINE.index(name)]}
    assert not up, f"{name} reaches {up}, which stand above it"


def test_only_the_command_line_imports_the_offline_api() -> None:
    users = {room(path) for path in modules() if "offline" in our_rooms(path)}
    assert users <= {"cli"}


def test_the_guard_imports_the_standard_library_only() -> None:
    for name in imports(PACKAGE / "guard.py"):
        assert name.split(".")[0].lstrip("_") in {n.lstrip("_") for n in sys.stdlib_module_names}


def test_the_server_extension_shares_only_files_with_a_kernel() -> None:
    up = reach("server") & {
        "cli",
        "session_manager",
        "session",
        "conversation",
        "process",
        "portal",
        "kernel",
    }
    assert not up
    rooms = {"server", *reach("server")}
    brought = {name.split(".")[0] for path in modules() if room(path) in rooms for name in imports(path)}
    assert not brought & {"IPython", "claude_agent_sdk", "ipykernel", "ipywidgets", "traitlets"}


# Where the name to import differs from the name to install.
DISTRIBUTIONS = {"yaml": "pyyaml", "markdown_it": "markdown-it-py"}
# Part of the extra `lab`; the command line says so where it is missing.
OPTIONAL = {"jupyter_server", "jupyterlab", "nbclient", "nbformat"}


def test_what_is_imported_is_installed_with_the_package() -> None:
    wanted = {name.split(".")[0] for path in modules() for name in imports(path)}
    wanted -= {*sys.stdlib_module_names, *OPTIONAL, "claude_nb"}
    names = {DISTRIBUTIONS.get(name, name).lower().replace("_", "-") for name in wanted}
    assert names <= {re.split(r"[<>=]", text)[0].lower().replace("_", "-") for text in dependencies()}


@pytest.mark.parametrize("name", ["state", "reply", "errors"])
def test_what_has_no_io_imports_no_framework(name: str) -> None:
    wrong = {i for i in imports(PACKAGE / f"{name}.py", top_level=True) if i.split(".")[0] in NO_FRAMEWORK}
    assert not wrong


@pytest.mark.parametrize("name", ["claude_nb", "claude_nb.extension", "claude_nb.cli"])
def test_importing_brings_nothing_slow(name: str) -> None:
    slow = ["claude_agent_sdk", "mcp", "ipywidgets", "anywidget", "anthropic"]
    program = f"import sys, {name}; print([m for m in {slow} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# -- what is said twice is said alike ----------------------------------------------------------------


def test_there_is_one_version() -> None:
    assert project()["version"] == claude_nb.__version__
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", claude_nb.__version__)
    assert claude_nb.__version__ in headings


def test_the_readme_names_only_what_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:tests|benchmarks|notebooks)/[\w./-]+)`", readme):
        assert (ROOT / path).exists(), path


def test_the_readme_lists_every_option_of_the_magic() -> None:
    from claude_nb.help import help_text

    readme = (ROOT / "README.md").read_text()
    for option in re.findall(r"^  (-\w), (--\w+)", help_text(), re.MULTILINE):
        for form in option:
            assert re.search(rf"`{form}( \w+)?`", readme), form


def test_the_readme_lists_every_configuration_trait() -> None:
    from claude_nb.session_manager import SessionManager

    readme = (ROOT / "README.md").read_text()
    for name in SessionManager.class_traits(config=True):
        assert f"`{name}`" in readme, name


def test_the_wheel_holds_the_example_notebooks_and_what_the_package_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(ROOT)], check=True, stdin=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "claude_nb/_notebooks/01-quickstart.ipynb",
        "claude_nb/_notebooks/offline.yaml",
        "claude_nb/_notebooks/data/temperatures.csv",
        "claude_nb/offline/builtin.yaml",
        "claude_nb/guard.py",
        "claude_nb/server/session.yaml",
        f"claude_nb-{claude_nb.__version__}.data/data/etc/jupyter/jupyter_server_config.d/claude_nb.json",
    ):
        assert needed in names
    assert not [name for name in names if "conftest" in name or "checkpoint" in name]


def test_every_example_is_in_the_wheel() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{notebook.name}" in included
