"""vLLM: how it would be started. It was not run here: it needs a GPU."""

from pathlib import Path

from gateway.loader import load_backend
from tests.backends.folder import write_folder, write_snapshot


def test_settings_become_arguments(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    raw = {"model": str(folder), "context": 8192, "parallel": 16, "gpus": 2, "gpu_memory": 0.5, "cache": str(tmp_path)}
    backend = load_backend("large", "vllm", raw)
    launch = backend.launch(1234)
    assert launch is not None
    assert launch.argv == (
        "vllm", "serve", str(folder), "--served-model-name", "large", "--host", "127.0.0.1", "--port", "1234",
        "--max-num-seqs", "16", "--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.5",
        "--max-model-len", "8192",
    )  # fmt: skip
    assert launch.environment == {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "VLLM_NO_USAGE_STATS": "1"}
    assert (backend.slots, backend.model_name("any"), backend.memory() > 8192 * 2048) == (16, "large", True)


def test_what_is_missing(tmp_path: Path) -> None:
    raw = {"model": "org/name", "cache": str(tmp_path), "binary": "no-such-vllm"}
    program, model = load_backend("large", "vllm", raw).problems()
    assert "no-such-vllm is not here" in program
    assert "not in the cache" in model
    write_snapshot(tmp_path)
    assert [*load_backend("large", "vllm", raw).problems()] == [program]


def test_a_model_may_be_fetched_by_the_engine(tmp_path: Path) -> None:
    raw = {"model": "org/name", "cache": str(tmp_path), "binary": "sh", "download": True}
    backend = load_backend("large", "vllm", raw)
    assert backend.problems() == []
    launch = backend.launch(1)
    assert launch is not None
    assert launch.argv[2] == "org/name"
    assert launch.environment["HF_HUB_OFFLINE"] == "0"
    assert backend.memory() == 0  # nobody can tell yet
