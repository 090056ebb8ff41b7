"""The requests that the echo engine understands, as far as it reads them."""

from typing import Any

import msgspec

from backends.echo.script import Script


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class Part(msgspec.Struct, frozen=True):
    """A part of a message's content; only text is echoed."""

    type: str
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or () if part.type == "text")


class Named(msgspec.Struct, frozen=True):
    name: str


class Tool(msgspec.Struct, frozen=True):
    function: Named
    type: str = "function"


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What chat and text completions share."""

    model: str = "echo"
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    echo: Script = Script()

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class Chat(Completion, frozen=True, kw_only=True):
    messages: list[Message]
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None

    @property
    def prompt_text(self) -> str:
        return " ".join(message.text for message in self.messages)

    @property
    def asked(self) -> str:
        """What is echoed: the last thing the user said."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def forced_tool(self) -> str | None:
        """The tool that must be called: the one that `tool_choice` names, or the first when any is required."""
        if isinstance(self.tool_choice, Tool):
            return self.tool_choice.function.name
        return self.tools[0].function.name if self.tool_choice == "required" and self.tools else None


class Text(Completion, frozen=True, kw_only=True):
    prompt: str | list[str]

    @property
    def prompt_text(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else " ".join(self.prompt)

    asked = prompt_text
    forced_tool: Any = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    input: str | list[str | int | list[int]]
    model: str = "echo"
    dimensions: int | None = None
    encoding_format: str = "float"
    echo: Script = Script()

    @property
    def texts(self) -> list[str]:
        """Each thing to embed, as text; a list of numbers is one list of tokens."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [str(self.input)]
        return [str(item) for item in self.input]
