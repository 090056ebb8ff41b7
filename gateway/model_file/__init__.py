"""Files with a model's weights, read as far as their headers: what they are, whether they are whole, what they cost.

    GGUF           one file, or parts named `-00001-of-00003.gguf`
    safetensors    a folder with `config.json` and `*.safetensors`

Nothing of a model is executed here, and of a large file only names and numbers are read.
"""

from gateway.model_file.description import ModelFile, Unfit
from gateway.model_file.digests import Digests
from gateway.model_file.hub import HubSettings
from gateway.model_file.reading import locate, read_model
from gateway.model_file.trust import Trust

__all__ = ["Digests", "HubSettings", "ModelFile", "Trust", "Unfit", "locate", "read_model"]
