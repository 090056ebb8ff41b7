"""A model server without a model: it echoes. For demos, tests and trying out a configuration.

    backends:
      demo:
        echo: {models: [echo]}

It is a real process, supervised like any engine, and speaks OpenAI's API as OpenAI does: chat and text completions
(whole and streamed, with tools), embeddings, models. The same request always gets the same answer. A request may hold
an object `echo` that asks for delays, lengths and failures: see `backends/echo/script.py`.
"""

import sys

from gateway.backend import BaseBackend, BaseSettings, Launch


class Settings(BaseSettings, frozen=True):
    models: tuple[str, ...] = ("echo",)  # what /v1/models lists; every other name is answered too


class Backend(BaseBackend[Settings]):
    choices = 1
    start_timeout = 20.0
    stop_timeout = 3.0

    def launch(self, port: int) -> Launch:
        models = ",".join(self.settings.models)
        return Launch((sys.executable, "-P", "-m", "backends.echo.server", f"--port={port}", f"--models={models}"))
