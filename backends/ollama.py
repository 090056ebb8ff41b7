"""Ollama, run by somebody else: its paths that do as OpenAI's.

    backends:
      desk:
        ollama: {url: "http://127.0.0.1:11434"}

It loads and unloads its models by itself, so it has no slots here unless `slots` says so. It is asked for `/`, which
it answers without a model. `key` is for one behind a proxy that wants it.
"""

from collections.abc import Mapping, Sequence

from gateway.backend import BaseBackend, BaseSettings, Endpoint, Health, Secret, Tls, find_url_problems


class Settings(BaseSettings, frozen=True):
    url: str = "http://127.0.0.1:11434"
    key: Secret = ""
    health: Health | None = Health(path="/")
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if problems := [*find_url_problems(self.url)]:
            raise ValueError("; ".join(problems))


class Backend(BaseBackend[Settings]):
    models_path = "/v1/models"

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.health = settings.health
        self.tls = settings.tls

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint(self.settings.url.rstrip("/").removesuffix("/v1")),)

    def request_headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.settings.key}"} if self.settings.key else {}
