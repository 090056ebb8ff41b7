"""Addresses inside a request: what a model server would fetch by itself if asked to (images, audio, files, tools).

An address is any member called `url` or `…_url`. What a tool was called with, the schema of what it takes, and
`metadata` are data: nobody fetches what stands there.
"""

from collections.abc import Iterator
from typing import Any

_DATA = frozenset(("arguments", "parameters", "input_schema", "schema", "metadata"))
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


def find_links(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str]]:
    """Path and address of everything in `value`, plain data of bounded depth that is a member called `name`."""
    if isinstance(value, str):
        if is_address(name):
            yield path, value
    elif isinstance(value, list):
        for at, part in enumerate(value):
            if isinstance(part, dict | list | str):
                yield from find_links(part, f"{path}[{at}]", name)
    elif isinstance(value, dict) and name not in _DATA:
        is_call = value.get("type") in _CALLS
        for inner, part in value.items():
            if not (is_call and inner == "input"):
                yield from find_links(part, f"{path}.{inner}", inner)


def is_address(name: str) -> bool:
    return name == "url" or name.endswith("_url")


def is_data(link: str) -> bool:
    """Whether the address holds its content itself (RFC 2397)."""
    return link[:5].lower() == "data:"
