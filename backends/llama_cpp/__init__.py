"""llama.cpp, through its own server (`llama-server`) or that of llama-cpp-python, whichever is there.

    backends:
      qwen:
        llama_cpp: {model: ./models/qwen2.5-0.5b.gguf, context: 4096}
      busy:
        llama_cpp: {model: ./models/qwen2.5-0.5b.gguf, server: native, parallel: 4}

`server: native` is the program `binary`, looked for beside our `python` and on the PATH; it works on `parallel`
requests at once, each with its own `context`. Build it with `sh backends/llama_cpp/build_server.sh`, or take one made
for your GPU. `server: python` comes with `pip install 'tollkeeper[llama]'` (it is compiled: some minutes), or smaller
and faster with `sh backends/llama_cpp/build.sh`; it works on one request at a time. `auto` prefers the native one.
A `grammar` that does not parse ends the Python one, so it takes none from clients unless `grammar: true`.
`threads` and `gpu_layers` are llama.cpp's own choice unless they are given; `chat_format` is the model's own.
"""

from collections.abc import Sequence

from backends.llama_cpp import native, python
from backends.llama_cpp.settings import Settings
from gateway.backend import BaseBackend, Blame, Launch
from gateway.model_file import Unfit, read_model

__all__ = ["Backend", "Settings"]


class Backend(BaseBackend[Settings]):
    start_timeout = 600.0

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self._program = "" if settings.server == "python" else native.find(settings.binary)
        self._is_native = settings.server == "native" or bool(self._program)
        self.slots = self.choices = settings.parallel if self._is_native else 1
        self.reports_usage = self._is_native  # the other sends none on streams, whatever `stream_options` say
        self.generates_after_leave = not self._is_native
        if self._is_native:
            self.stop_timeout = native.STOP_TIMEOUT
            self.withheld = native.WITHHELD
            self.answers_as = name
        else:
            self.renamed = python.RENAMED
            self.joins_parts = True
            self.wants_uuids = True  # any other X-Request-ID is a 400 without a word
            self.withheld = frozenset() if settings.grammar else python.WITHHELD

    def launch(self, port: int) -> Launch:
        if self._is_native:
            return native.describe(self._program or self.settings.binary, self.name, self.settings, port)
        return python.describe(self.name, self.settings, port)

    def problems(self) -> Sequence[str]:
        found = []
        if self._is_native and not self._program:
            found.append(
                f"the program {self.settings.binary} is not here: name it by `binary`, "
                "or build it with: sh backends/llama_cpp/build_server.sh"
            )
        elif not self._is_native:
            found.extend(python.find_missing())
        try:
            model = read_model(self.settings.model)
        except Unfit as error:
            return [*found, str(error)]
        if model.format != "gguf":
            found.append(f"the model {self.settings.model} is a folder; llama.cpp takes one GGUF file")
        return found

    def model_path(self) -> str:
        return self.settings.model

    def memory(self) -> int:
        try:
            return read_model(self.settings.model).memory(self.settings.context * self.slots)
        except Unfit:
            return 0

    def blame(self, status: int, body: bytes) -> Blame:
        """Both answer 500 to some mistakes of clients, and say so: wrong types, unknown roles, JSON that is none."""
        if status == 500 and (b"validation error" in body or b"parse error" in body):
            return Blame.CLIENT
        return super().blame(status, body)
