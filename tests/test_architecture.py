"""Who may know whom, and how large things may become. `pytest -s` prints the largest."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "plugins", "backends")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

CONTRACT = {
    "plugins": {"gateway.plugin", "gateway.exchange", "gateway.errors", "gateway.wire"},
    "backends": {"gateway.backend", "gateway.errors", "gateway.model_file", "gateway.wire"},
}
SQL = ("sqlalchemy", "alembic", "sqlite3")
# What a process imports when it starts, all the way down, never holds any of these.
PROCESSES = {
    "gateway.worker": (*SQL, "aiohttp", "gateway.engines", "gateway.control", "gateway.supervisor", "gateway.cli"),
    "gateway.supervisor": (*SQL, "gateway.control", "gateway.cli"),
    "gateway.cli.serve": (*SQL, "gateway.control"),
    "gateway.control.__main__": ("gateway.engines", "gateway.supervisor", "gateway.cli"),
}

LARGEST_FILE, LARGEST_FUNCTION = 250, 40  # lines
LARGER_FILES: dict[str, int] = {}
LARGER_FUNCTIONS: dict[str, int] = {}
BANNED_NAMES = {"utils", "util", "helpers", "common", "manager", "misc"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, with_types: bool = False) -> Iterator[str]:
    """Modules that a file imports anywhere in it, but for those that only type checkers see."""
    tree = parse(path)
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" and not with_types
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (
                f"{node.module}.{alias.name}" for alias in node.names if is_module(f"{node.module}.{alias.name}")
            )


def is_module(name: str) -> bool:
    if name.partition(".")[0] not in PACKAGES:
        return False
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("package", CONTRACT)
def test_plugins_and_backends_know_only_the_contract(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        own = ".".join(module_name(path).split(".")[:2])  # a backend may be a folder: its files know each other
        for name in imports(path, with_types=True):
            top = name.partition(".")[0]
            if top == "gateway":
                assert name in CONTRACT[package], f"{path} reaches into {name}"
            elif top in PACKAGES:
                assert is_within(name, own), f"{path} imports its neighbour {name}"


def test_the_gateway_names_no_plugin_and_no_backend() -> None:
    for path in (ROOT / "gateway").rglob("*.py"):
        for name in imports(path, with_types=True):
            assert name.partition(".")[0] not in ("plugins", "backends"), f"{path} imports {name}"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_imports_nothing_of_another(process: str) -> None:
    for name, chain in reach(process).items():
        for forbidden in PROCESSES[process]:
            assert not is_within(name, forbidden), f"{process} reaches {name}: {' -> '.join(chain)}"


def reach(start: str) -> dict[str, tuple[str, ...]]:
    """Every module that `start` may import, directly or not, with the way there. Lazy imports count as well."""
    found: dict[str, tuple[str, ...]] = {start: (start,)}
    queue = [start]
    while queue:
        module = queue.pop()
        for name in imports_of(module):
            if name not in found:
                found[name] = (*found[module], name)
                queue.append(name)
    return found


def imports_of(module: str) -> Iterator[str]:
    if module.partition(".")[0] not in PACKAGES:
        return
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for name in imports(file):
        yield name
        parts = name.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts)))  # parents are run as well


def test_control_is_started_by_name_and_never_imported() -> None:
    assert importlib.util.find_spec("gateway.control") is not None
    for path in (ROOT / "gateway" / "supervisor").rglob("*.py"):
        assert not any(is_within(name, "gateway.control") for name in imports(path)), path


@pytest.mark.parametrize("package", ["plugins", "backends"])
def test_every_part_has_its_tests(package: str) -> None:
    for path in (ROOT / package).iterdir():
        if path.name.startswith("_") or not (path.suffix == ".py" or (path / "__init__.py").exists()):
            continue
        test = ROOT / "tests" / package / f"test_{path.stem}.py"
        assert test.exists(), f"{path.name} has no {test.relative_to(ROOT)}"


def test_files_are_small() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    report("files", sizes)
    check_limits(sizes, LARGEST_FILE, LARGER_FILES)


def test_functions_are_small() -> None:
    sizes = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    report("functions", sizes)
    check_limits(sizes, LARGEST_FUNCTION, LARGER_FUNCTIONS)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in SOURCES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def report(what: str, sizes: dict[str, int]) -> None:
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    median = ordered[len(ordered) // 2][1]
    print(f"\n{len(ordered)} {what}, {sum(sizes.values())} lines, median {median}; the largest:")
    print("".join(f"  {size:4} {name}\n" for name, size in ordered[:5]), end="")


def check_limits(sizes: dict[str, int], limit: int, exceptions: dict[str, int]) -> None:
    too_large = {name: size for name, size in sizes.items() if size > exceptions.get(name, limit)}
    assert not too_large
    stale = {name for name in exceptions if sizes.get(name, 0) <= limit}
    assert not stale, f"no exception is needed any more: {stale}"


def test_modules_are_nouns_that_say_something() -> None:
    for path in SOURCES:
        assert path.stem not in BANNED_NAMES, path


def test_every_module_says_what_it_is() -> None:
    for path in SOURCES:
        if path.read_text("utf-8").strip():
            assert ast.get_docstring(parse(path)), f"{path} has no docstring"


@pytest.mark.parametrize("folder", ["config", "monitoring", "k8s"])
def test_folders_of_data_hold_no_code(folder: str) -> None:
    assert not list((ROOT / folder).rglob("*.py"))


def test_every_room_has_its_notes() -> None:
    rooms = {path.parent for path in SOURCES if path.parent.parent == ROOT / "gateway"}
    rooms |= {ROOT / "plugins", ROOT / "backends", ROOT / "config"}
    missing = sorted(str(room.relative_to(ROOT)) for room in rooms if not (room / "README.md").exists())
    assert not missing
