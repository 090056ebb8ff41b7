"""What is written for readers is true: the reference, the schema, the tables, the examples, the commands."""

import importlib
import inspect
import json
import re
import sys
import textwrap
import tomllib
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.cli import tollkeeper
from gateway.cli.errors import markdown_table
from gateway.exchange import Exchange
from gateway.loader import known_names, load_backend, load_plugin
from gateway.settings.check import find_problems
from gateway.settings.document import read_document
from gateway.settings.json_schema import make_schema
from gateway.settings.load import build, load, read
from gateway.settings.schema import Config, Section
from gateway.settings.shorthand import write_out

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "config" / "gateway.yaml"


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_are_good(file: Path) -> None:
    document = read(str(file), {})
    problems = find_problems(build(document), document)
    unfit = [problem for problem in problems if not problem.path.endswith(".llama_cpp")]  # it may not be installed
    assert unfit == []


def test_the_reference_names_every_option() -> None:
    text = REFERENCE.read_text("utf-8")
    missing = [path for path, name in options(Config) if not re.search(rf"\b{name}:", text)]
    assert missing == []


def options(section: type[Section], path: str = "") -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(section):
        if field.name == "engine":  # written as the engine's own name
            continue
        yield f"{path}{field.name}", field.encode_name
        for part in (field.type, *get_args(field.type)):
            if isinstance(part, type) and issubclass(part, Section):
                yield from options(part, f"{path}{field.name}.")


@pytest.mark.parametrize("section", ["limits", "timeouts", "state", "log", "headers", "workers", "demo", "listen"])
def test_the_reference_states_the_true_defaults(section: str) -> None:
    assert getattr(load(str(REFERENCE), {}), section) == getattr(Config(), section)


def test_the_schema_is_what_the_code_says() -> None:
    written = json.loads((ROOT / "config" / "gateway.schema.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(make_schema())), "stale: make schema"


def test_the_error_table_of_the_readme_is_the_catalogue() -> None:
    _, table, _ = re.split(r"<!-- errors:[^>]*-->\n", (ROOT / "README.md").read_text("utf-8"))
    assert table == markdown_table(), "stale: tollkeeper errors --markdown"


def test_every_command_that_is_written_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")]:
        text = page.read_text("utf-8")
        assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets, page
        for name in re.findall(r"(?:^ {4}|`)tollkeeper ([a-z]+)", text, re.MULTILINE):
            assert name in tollkeeper.list_commands(None), f"{page}: tollkeeper {name}"  # type: ignore[arg-type]


def test_the_configuration_of_the_readme_is_good() -> None:
    (block,) = (block for block in blocks((ROOT / "README.md").read_text("utf-8")) if block.startswith("listen:"))
    document = read_document(block, {})
    assert find_problems(build(document), document) == []


def test_the_plugin_of_the_readme_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block for block in blocks((ROOT / "README.md").read_text("utf-8")) if "class Plugin" in block)
    module = types.ModuleType("plugins.greeting")
    module.__spec__ = ModuleSpec("plugins.greeting", None)
    exec(block, module.__dict__)
    monkeypatch.setitem(sys.modules, "plugins.greeting", module)
    for raw in (
        {},
        *(entry["greeting"] for entry in yaml.safe_load(block.partition("plugins:")[2].splitlines()[0][:-3])),
    ):
        exchange = Exchange("id", EmptyHead(), "GET", "/", 0.0)
        load_plugin("greeting", raw).access(exchange)
        assert exchange.lines == [f"X-Greeting: {raw.get('text', 'hello')}\r\n"]


class EmptyHead:
    def get(self, name: bytes) -> None:
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        return []


def blocks(text: str) -> list[str]:
    """The indented blocks of a text, each without its indent."""
    found = re.findall(r"(?:^ {4}.*\n|^\n)+", text, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in found if block.strip()]


@pytest.mark.parametrize("name", known_names("plugin"))
def test_the_examples_of_a_plugin_load(name: str) -> None:
    entries = examples(importlib.import_module(f"plugins.{name}"))["plugins"]
    assert any(name in entry for entry in entries)
    for entry in entries:
        for other, raw in entry.items():
            load_plugin(other, raw)


@pytest.mark.parametrize("name", known_names("backend"))
def test_the_examples_of_a_backend_load(name: str) -> None:
    backends = examples(importlib.import_module(f"backends.{name}"))["backends"]
    engines = {backend["engine"][0] for backend in backends.values()}
    assert name in engines
    for called, backend in backends.items():
        load_backend(called, *backend["engine"])


def examples(module: object) -> dict[str, Any]:
    """The YAML blocks of a docstring, one upon the other, in their long form."""
    found: dict[str, Any] = {}
    for block in blocks(f"{inspect.getdoc(module)}\n"):
        parsed = yaml.safe_load(block)
        if isinstance(parsed, dict):
            found |= parsed
    data, problems = write_out(found)
    assert problems == []
    return data


def test_s60_the_image_is_made_of_pinned_and_hashed_packages() -> None:
    """Each dependency of the project stands in the lock, in a version that the project allows, with its hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = dict(re.findall(r"(?m)^([\w.-]+)(?:\[[^]]*\])?==(\S+)[^\\\n]*\\\n    --hash=sha256:[0-9a-f]{64}", lock))
    assert len(pinned) == len(re.findall(r"(?m)^[\w.-]+(?:\[[^]]*\])?==", lock)), "a package without a hash"
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    for needed in map(Requirement, project["dependencies"]):
        assert needed.specifier.contains(versions[canonicalize_name(needed.name)]), needed
    aiohttp = next(needed for needed in map(Requirement, project["dependencies"]) if needed.name == "aiohttp")
    assert not aiohttp.specifier.contains("3.14.2"), "its advisories of 2026 are mended in 3.14.3"
