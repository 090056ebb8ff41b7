"""Names of the config become plugins and backends; whatever does not fit is told with its path."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.loader import find_settings, known_names, load_backend, load_plugin
from gateway.settings.problem import ConfigError


def problems(kind: str, *arguments: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_plugin(*arguments) if kind == "plugin" else load_backend("name", *arguments)
    return [str(problem) for problem in caught.value.problems]


def test_loads_with_its_settings() -> None:
    backend = load_backend("demo", "echo", {"models": ["a", "b"]})
    assert (backend.name, backend.settings.models) == ("demo", ("a", "b"))
    assert find_settings("backend", "echo") is type(backend.settings)


def test_knows_every_name() -> None:
    assert {"echo", "http", "llama_cpp"} <= {*known_names("backend")}


def test_every_known_name_loads_its_settings() -> None:
    for name in known_names("plugin"):
        assert find_settings("plugin", name)
    for name in known_names("backend"):
        assert find_settings("backend", name)


def test_suggests_the_nearest_name() -> None:
    assert problems("backend", "lama_cpp", {}) == ["unknown backend `lama_cpp`, did you mean `llama_cpp`?"]


@pytest.mark.parametrize("name", ["os.path", "..http", "", "echo.server", "__init__", "/etc/passwd"])
def test_only_a_name_is_a_name(name: str) -> None:
    assert "unknown backend" in problems("backend", name, {})[0] or "has no class" in problems("backend", name, {})[0]


def test_tells_all_problems_with_their_paths() -> None:
    raw = {"endpoints": [{"url": 5, "wight": 1}], "balanse": "weighted"}
    assert problems("backend", "http", raw) == [
        "endpoints[0].url: must be text; put it in quotes",
        "endpoints[0].wight: unknown key `wight`, did you mean `weight`?",
        "balanse: unknown key `balanse`, did you mean `balance`?",
    ]


def test_tells_rules_of_the_whole() -> None:
    assert problems("backend", "http", {"endpoints": []})[0].startswith("`endpoints` is empty")


def test_imports_only_what_is_asked_for() -> None:
    script = (
        "import sys; from gateway.loader import load_backend; load_backend('a', 'http', {'endpoints': [{'url': "
        "'http://a'}]}); print(sorted(name for name in sys.modules if name.startswith(('backends.', 'plugins.'))))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "['backends.http']"


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that registers the backends `theirs`, `broken` and, in vain, `echo`."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tollkeeper.backends]\ntheirs = theirs_backend\nbroken = broken_backend\necho = theirs_backend\n"
        "incomplete = json\n"
    )
    (tmp_path / "theirs_backend.py").write_text(
        "from gateway.backend import BaseBackend, BaseSettings\n"
        "class Settings(BaseSettings, frozen=True):\n    size: int = 1\n"
        "class Backend(BaseBackend[Settings]):\n    slots = 7\n"
    )
    (tmp_path / "broken_backend.py").write_text("import a_module_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("third_party")
def test_third_parties_register_theirs() -> None:
    backend = load_backend("x", "theirs", {"size": 3})
    assert (backend.slots, backend.settings.size) == (7, 3)
    assert "theirs" in known_names("backend")


@pytest.mark.usefixtures("third_party")
def test_third_parties_cannot_replace_ours() -> None:
    assert load_backend("x", "echo", {}).slots == 0


@pytest.mark.usefixtures("third_party")
def test_tells_what_is_wrong_with_theirs() -> None:
    assert problems("backend", "broken", {}) == [
        "the backend `broken` cannot be imported: No module named 'a_module_that_is_missing'"
    ]
    assert problems("backend", "incomplete", {}) == [
        "the backend `incomplete` has no class `Settings` that inherits BaseSettings"
    ]
