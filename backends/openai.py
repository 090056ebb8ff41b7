"""A server of somebody else's that speaks OpenAI's API and wants a key: OpenAI, and the many that do as it does.

    backends:
      hosted:
        openai: {url: https://api.openai.com/v1, key: "${OPENAI_API_KEY}"}
      router:
        openai: {url: https://openrouter.ai/api/v1, key: "${ROUTER_KEY}", health: {path: /models, interval: 30s}}

`url` is what OpenAI's own clients call `base_url`: our `/v1/chat/completions` becomes `chat/completions` below it, also
where it does not end in `/v1`. Without a path `/v1` is meant. `key` is sent as `Authorization: Bearer` to that address
and to no other; a client's own credential never is. `organization` and `project` are OpenAI's. `health.path` is below
`url` as well, and is asked with the key.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from gateway.backend import BaseBackend, BaseSettings, Endpoint, Health, Secret, Tls, find_url_problems


class Settings(BaseSettings, frozen=True):
    url: str = "https://api.openai.com/v1"
    key: Secret = ""
    organization: str = ""
    project: str = ""
    health: Health | None = None
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if problems := [*find_url_problems(self.url)]:
            raise ValueError("; ".join(problems))


class Backend(BaseBackend[Settings]):
    mount = "/v1"
    models_path = "/models"

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.health = settings.health
        self.tls = settings.tls

    def endpoints(self) -> Sequence[Endpoint]:
        url = self.settings.url.rstrip("/")
        return (Endpoint(url if urlsplit(url).path else f"{url}/v1"),)

    def request_headers(self) -> Mapping[str, str]:
        settings = self.settings
        headers = {
            "Authorization": settings.key and f"Bearer {settings.key}",
            "OpenAI-Organization": settings.organization,
            "OpenAI-Project": settings.project,
        }
        return {name: value for name, value in headers.items() if value}
