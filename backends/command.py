"""Any model server that a command line starts.

    backends:
      anything:
        command: {run: "my-server --port {port}", health: /health}
      voices:
        command:
          run: "/opt/voices/serve --listen 127.0.0.1:{port} --weights {model}"
          model: ./models/voices.bin
          environment: {VOICES_THREADS: "4"}
          usage: false

`run` is cut into arguments as a shell would, quotes heeded, and executed as it stands: no shell sees it. In arguments
and in the environment `{port}`, `{name}` (the backend's) and `{model}` are filled in; nothing that a client sends is.
The server must listen on 127.0.0.1:`{port}`, and answer `health` with 2xx once its model is loaded; `alive` is a path
that it answers even while it is busy. `usage: false`: it sends no token counts on streams. Say `slots` beside it.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence

import msgspec

from gateway.backend import BaseBackend, BaseSettings, Launch, Seconds


class Settings(BaseSettings, frozen=True):
    run: str
    model: str = ""
    health: str = "/health"
    alive: str = ""  # as `health`
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    usage: bool = True
    start: Seconds = Seconds(120)  # from its launch to the first 2xx
    stop: Seconds = Seconds(10)  # from SIGTERM to SIGKILL

    def __post_init__(self) -> None:
        try:
            words = shlex.split(self.run)
        except ValueError as error:
            raise ValueError(f"`run` cannot be cut into arguments: {error}") from None
        if not words:
            raise ValueError("`run` is empty: name a program")
        texts = (*words, *self.environment.values())
        if not any("{port}" in text for text in texts):
            raise ValueError("`run` must tell the program where to listen: put {port} into it, or into `environment`")
        if not self.model and any("{model}" in text for text in texts):
            raise ValueError("`run` holds {model}: say which by `model`")
        if bad := [path for path in (self.health, self.alive) if path and not path.startswith("/")]:
            raise ValueError(f"{bad[0]!r} is no path: it must begin with /")


class Backend(BaseBackend[Settings]):
    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.reports_usage = settings.usage
        self.start_timeout, self.stop_timeout = settings.start, settings.stop
        self._words = shlex.split(settings.run)

    def launch(self, port: int) -> Launch:
        settings = self.settings
        environment = {name: self._fill(value, port) for name, value in settings.environment.items()}
        argv = tuple(self._fill(word, port) for word in self._words)
        return Launch(argv, environment, settings.health, settings.alive or settings.health)

    def problems(self) -> Sequence[str]:
        return [*self._find_problems()]

    def model_path(self) -> str:
        return self.settings.model if os.path.exists(self.settings.model) else ""

    def _find_problems(self) -> Iterator[str]:
        program = self._words[0]
        if shutil.which(program) is None:
            yield f"the program {program} is not here, or may not be executed: write its whole path"

    def _fill(self, text: str, port: int) -> str:
        for placeholder, value in (("{port}", str(port)), ("{name}", self.name), ("{model}", self.settings.model)):
            text = text.replace(placeholder, value)
        return text
