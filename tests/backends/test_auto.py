"""`auto`: which engine is taken for a model on this machine, and what is said of it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import tollkeeper
from gateway.engines.leftovers import Leftovers
from gateway.engines.probe import Prober
from gateway.engines.process import Engine
from gateway.engines.site import Site
from gateway.loader import load_backend
from gateway.settings.problem import ConfigError
from tests.backends.folder import write_folder


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the three engines say of themselves, to be changed: `missing` (not installed), `drawbacks`."""
    said: dict[str, Any] = {"missing": set(), "drawbacks": {"mlx", "vllm"}}

    def find_mlx(self: Any) -> list[str]:
        return ["mlx is not installed"] if "mlx" in said["missing"] else []

    def tell(name: str) -> Any:
        return lambda self: (f"no machine for {name}",) if name in said["drawbacks"] else ()

    def find_vllm(self: Any) -> str | None:
        return None if "vllm" in said["missing"] else "/bin/vllm"

    monkeypatch.setattr("backends.mlx.Backend._find_missing", find_mlx)
    monkeypatch.setattr("backends.vllm.Backend._find_program", find_vllm)
    monkeypatch.setattr("backends.llama_cpp.native.find", lambda binary: "/bin/llama-server")
    for name in ("mlx", "vllm"):
        monkeypatch.setattr(f"backends.{name}.Backend.drawbacks", tell(name))
    return said


def choose(model: Path | str, **settings: Any) -> tuple[str, str]:
    backend = load_backend("house", "auto", {"model": str(model)} | settings)
    assert backend.problems() == []
    assert backend.name == "house"
    return type(backend).__module__.removeprefix("backends."), backend.chosen


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    tiny.write_model(str(tmp_path / "tiny.gguf"))
    return tmp_path / "tiny.gguf"


def test_a_gguf_file_is_for_llama_cpp(engines: dict[str, Any], gguf: Path) -> None:
    engine, why = choose(gguf)
    assert engine == "llama_cpp"
    assert why.startswith("llama_cpp serves this model; mlx: the model ")
    assert "is a GGUF file" in why


@pytest.mark.parametrize(
    ("missing", "drawbacks", "expected"),
    [
        (set(), {"mlx", "vllm"}, "mlx"),  # neither is at home here: the first that works at all
        (set(), {"vllm"}, "mlx"),  # Apple silicon
        (set(), {"mlx"}, "vllm"),  # a GPU
        ({"mlx"}, {"vllm"}, "vllm"),
        ({"vllm"}, {"mlx"}, "mlx"),
    ],
)
def test_a_folder_goes_where_it_runs_best(
    engines: dict[str, Any], tmp_path: Path, missing: set[str], drawbacks: set[str], expected: str
) -> None:
    engines |= {"missing": missing, "drawbacks": drawbacks}
    engine, why = choose(write_folder(tmp_path / "model"))
    assert engine == expected
    for other in missing:
        assert f"{other}: " in why
    for other in drawbacks - missing:
        assert f"{other}: no machine for {other}" in why


def test_preference_is_the_order(engines: dict[str, Any], tmp_path: Path) -> None:
    engines["drawbacks"] = set()
    folder = write_folder(tmp_path / "model")
    assert [choose(folder)[0], choose(folder, among=["vllm", "mlx"])[0]] == ["mlx", "vllm"]


def test_check_tells_what_was_chosen_and_finds_nothing_wrong_with_it(
    engines: dict[str, Any], gguf: Path, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"backends:\n  house:\n    auto: {{model: {gguf}}}\nroutes: [{{path: /x, to: house, auth: none}}]\n"
    )
    told = CliRunner().invoke(tollkeeper, ["check", "--strict", str(file)])
    assert f"{file}:3: note: backends.house.auto: llama_cpp serves this model; mlx: the model" in told.stderr
    assert (told.exit_code, told.stdout) == (0, f"{file}: good\n")


async def test_status_tells_what_was_chosen(engines: dict[str, Any], gguf: Path, tmp_path: Path) -> None:
    backend = load_backend("house", "auto", {"model": str(gguf)})
    site = Site(str(tmp_path), 0, Leftovers(str(tmp_path / "engines.json")), Prober(), itertools.count(1))
    assert Engine(backend, site, lambda: None).describe()["chosen"] == backend.chosen != ""


def test_nothing_fits(engines: dict[str, Any], tmp_path: Path) -> None:
    backend = load_backend("house", "auto", {"model": str(tmp_path / "no")})
    (problem,) = backend.problems()
    assert problem.startswith(f"no engine can serve {tmp_path / 'no'}: mlx: ")
    assert "vllm: " in problem
    assert "llama_cpp: " in problem
    assert (backend.launch(1), backend.endpoints()) == (None, ())


@pytest.mark.parametrize(
    ("among", "problem"),
    [([], "must name engines"), (["auto"], "must name engines"), (["mxl"], "did you mean `mlx`"), (["http"], "model")],
)
def test_what_is_refused(among: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_backend("house", "auto", {"model": "x", "among": among})
