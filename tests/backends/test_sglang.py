"""SGLang: how it would be started. It was not run here: it needs a GPU."""

import sys
from pathlib import Path

from gateway.loader import load_backend
from tests.backends.folder import write_folder


def test_settings_become_arguments(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    raw = {"model": str(folder), "context": 8192, "parallel": 16, "gpus": 2, "gpu_memory": 0.5, "cache": str(tmp_path)}
    backend = load_backend("large", "sglang", raw)
    launch = backend.launch(1234)
    assert launch is not None
    assert launch.argv == (
        sys.executable, "-P", "-m", "sglang.launch_server", "--model-path", str(folder), "--served-model-name", "large",
        "--host", "127.0.0.1", "--port", "1234", "--max-running-requests", "16", "--tp-size", "2",
        "--context-length", "8192", "--mem-fraction-static", "0.5",
    )  # fmt: skip
    assert launch.environment == {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    assert (backend.slots, backend.model_name("any"), backend.memory() > 8192 * 2048) == (16, "large", True)


def test_what_is_missing(tmp_path: Path) -> None:
    raw = {"model": str(tmp_path / "no"), "cache": str(tmp_path)}
    package, model = load_backend("large", "sglang", raw).problems()
    assert "SGLang is not installed here" in package
    assert "is no folder here" in model
    python = load_backend("large", "sglang", raw | {"python": "/no/such/python"}).problems()[0]
    assert python == "`python`: /no/such/python is not here, or may not be executed"
