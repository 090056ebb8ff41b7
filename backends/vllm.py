"""vLLM, for GPUs.

    backends:
      large:
        vllm: {model: Qwen/Qwen2.5-7B-Instruct, context: 16384, gpus: 2}

`model` is a folder with safetensors, or an id of the Hugging Face hub that is in `cache`; `download: true` lets vLLM
fetch it. Install it with `pip install vllm`, in this environment or in one whose program is named by `binary`. It works
on `parallel` requests at once and takes `gpu_memory` (a share) of each of its `gpus`.
"""

import os
import shutil
import sysconfig
from collections.abc import Sequence
from typing import Annotated

import msgspec

from gateway.backend import BaseBackend, Launch
from gateway.model_file import HubSettings


class Settings(HubSettings, frozen=True):
    binary: str = "vllm"  # name or path
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None  # tokens; default: the model's own
    parallel: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    gpus: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    gpu_memory: Annotated[float, msgspec.Meta(ge=0.01, le=1)] = 0.9


class Backend(BaseBackend[Settings]):
    start_timeout = 1200.0  # it compiles kernels at its first start

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.slots = settings.parallel
        self.answers_as = name

    def launch(self, port: int) -> Launch:
        settings = self.settings
        argv = [
            self._find_program() or settings.binary, "serve", settings.find(),
            "--served-model-name", self.name,
            "--host", "127.0.0.1", "--port", str(port),
            "--max-num-seqs", str(settings.parallel),
            "--tensor-parallel-size", str(settings.gpus),
            "--gpu-memory-utilization", str(settings.gpu_memory),
        ]  # fmt: skip
        if settings.context is not None:
            argv += ["--max-model-len", str(settings.context)]
        return Launch(tuple(argv), {**settings.environment(), "VLLM_NO_USAGE_STATS": "1"})

    def model_name(self, model: str) -> str:
        return self.name

    def problems(self) -> Sequence[str]:
        missing = f"the program {self.settings.binary} is not here: pip install vllm, or name it by `binary`"
        return [*([] if self._find_program() else [missing]), *self.settings.problems()]

    def model_path(self) -> str:
        return self.settings.path()

    def drawbacks(self) -> Sequence[str]:
        return () if os.path.exists("/dev/nvidiactl") else ("this machine has no NVIDIA GPU, for which vLLM is made",)

    def memory(self) -> int:
        """What the weights and one full context need; of its GPUs it takes `gpu_memory` at once, whatever it needs."""
        return self.settings.memory(self.settings.context)

    def _find_program(self) -> str | None:
        binary = self.settings.binary
        return shutil.which(binary, path=sysconfig.get_path("scripts")) or shutil.which(binary)
