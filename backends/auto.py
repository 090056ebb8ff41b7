"""The engine that fits a model and this machine best.

    backends:
      house:
        auto: {model: ./models/qwen2.5-0.5b.gguf}

`among` are engines in the order of preference. The first that can serve the model here is taken, one that has a
drawback on this machine (MLX without Apple silicon, vLLM without a GPU) only if no other can. `tollkeeper check` and
`tollkeeper status` tell which it is, and why. It runs with its own defaults: whoever wants to set more names the engine
itself. Engines of third parties that take a `model` may stand in `among` as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.backend import AnyBackend, BaseBackend, BaseSettings, Load


class Settings(BaseSettings, frozen=True):
    model: str
    among: tuple[str, ...] = ("mlx", "vllm", "llama_cpp")

    def __post_init__(self) -> None:
        if not self.among or "auto" in self.among:
            raise ValueError("`among` must name engines, such as [mlx, llama_cpp]")


class Backend(BaseBackend[Settings]):
    """Stands for another one; only where no engine fits it stays, and says so."""

    _refusals: Sequence[str] = ()

    def resolve(self, load: Load) -> AnyBackend:
        raw: Mapping[str, Any] = {"model": self.settings.model}
        engines = {name: load(name, raw) for name in self.settings.among}
        problems = {name: engine.problems() for name, engine in engines.items()}
        able = [name for name in engines if not problems[name]]
        if not able:
            self._refusals = [f"{name}: {told[0]}" for name, told in problems.items()]
            return self
        name = next((name for name in able if not engines[name].drawbacks()), able[0])
        against = [f"{other}: {told[0]}" for other, told in problems.items() if told]
        against += [f"{other}: {told}" for other in able for told in engines[other].drawbacks()]
        chosen = engines[name]
        chosen.chosen = "; ".join((f"{name} serves this model", *against))
        return chosen

    def problems(self) -> Sequence[str]:
        return [f"no engine can serve {self.settings.model}: {'; '.join(self._refusals)}"]
