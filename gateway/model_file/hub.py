"""A safetensors folder as a backend's settings name it: a path, or an id of the Hugging Face hub that was fetched."""

import os
from collections.abc import Iterator, Mapping

from gateway.backend import BaseSettings
from gateway.model_file.description import ModelFile, Unfit
from gateway.model_file.reading import locate, read_model


class HubSettings(BaseSettings, frozen=True):
    """What every engine that takes such a folder lets be set; its own settings inherit this."""

    model: str  # path of a folder, or org/name
    cache: str = "~/.cache/huggingface/hub"
    download: bool = False  # the engine may fetch it when it starts

    def find(self) -> str:
        """What an engine is told: the folder, or the id while there is none."""
        return locate(self.model, self.cache) or self.model

    def path(self) -> str:
        """The folder, or the cache into which the engine would fetch it; empty where there is neither."""
        return locate(self.model, self.cache) or (os.path.expanduser(self.cache) if self.download else "")

    def read(self) -> ModelFile | None:
        """None where there is nothing, or nothing whole."""
        try:
            return read_model(self.find())
        except Unfit:
            return None

    def memory(self, context: int | None) -> int:
        """Bytes that the weights and `context` tokens need (None: the model's own); 0 where it cannot be read."""
        model = self.read()
        return 0 if model is None else model.memory(context or model.context)

    def environment(self) -> Mapping[str, str]:
        """What keeps an engine from the network, or shows it the cache (docs of huggingface_hub)."""
        cache = os.path.expanduser(self.cache)
        offline = {"HF_HUB_OFFLINE": "0" if self.download else "1"}
        return offline | {"HF_HUB_CACHE": cache} if os.path.isdir(cache) else offline

    def problems(self) -> Iterator[str]:
        path = locate(self.model, self.cache)
        if path is None:
            if not self.download:
                yield (
                    f"the model {self.model} is no folder here, and not in the cache {self.cache}: "
                    "fetch it with `tollkeeper models pull`, or write `download: true`"
                )
            return
        try:
            if read_model(path).format != "safetensors":
                yield f"the model {path} is a GGUF file: a folder with safetensors is needed"
        except Unfit as error:
            yield str(error)
