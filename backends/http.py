"""Servers that somebody else runs and that speak HTTP.

    backends:
      fleet:
        http:
          endpoints: [{url: http://10.0.0.5:8000, weight: 2}, {url: http://10.0.0.6:8000}]
          balance: least_inflight
          health: {path: /health, interval: 5s}
      hosted:
        http: {endpoints: [{url: "https://api.example.com"}], key: "${EXAMPLE_API_KEY}"}

A url is `http://host:port`, `https://host` or `unix:/run/server.sock`; its path is put before that of each request.
`balance` is `least_inflight` (the fewest requests for its weight), `weighted` (in turn), `p2c` (of two the one that has
been answering sooner), `first` (the others stand by) or `{hash: session}`: requests that are alike go to one endpoint,
by `prefix` of the prompt, `session` (X-Session-ID), `consumer` or `header:<name>`. Without `health` an endpoint is
judged by the requests alone. `key` is sent as `Authorization: Bearer`; a client's own credential never is.
`tls: {ca: …, cert: …, key: …}` names PEM files for https: authorities of your own, and a certificate to show.
"""

import os
from collections.abc import Mapping, Sequence

from gateway.backend import Balance, BaseBackend, BaseSettings, Endpoint, Health, Secret, Tls, find_url_problems


class Settings(BaseSettings, frozen=True):
    endpoints: tuple[Endpoint, ...]
    balance: Balance = "least_inflight"
    health: Health | None = None
    key: Secret = ""
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("`endpoints` is empty: name at least one, such as {url: http://10.0.0.5:8000}")
        urls = [endpoint.url for endpoint in self.endpoints]
        if problems := [problem for url in urls for problem in find_url_problems(url)]:
            raise ValueError("; ".join(problems))
        if len(set(urls)) < len(urls):
            raise ValueError("two `endpoints` have the same url: give it a larger `weight` instead")


class Backend(BaseBackend[Settings]):
    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.balance = settings.balance
        self.health = settings.health
        self.tls = settings.tls

    def endpoints(self) -> Sequence[Endpoint]:
        return self.settings.endpoints

    def problems(self) -> Sequence[str]:
        tls = self.settings.tls
        files = (tls.ca, tls.cert, tls.key) if tls is not None else ()
        return [f"tls: the file {file} cannot be read" for file in files if file and not os.access(file, os.R_OK)]

    def request_headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.settings.key}"} if self.settings.key else {}
