"""What is added to an engine's start for one run of it: a key of its own, its secrets, the GPUs that it may see."""

import re
import secrets
from collections.abc import Iterator, Mapping

import msgspec

from gateway.backend import Launch
from gateway.engines.ration import Ration

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)  # names of variables
_SHORTEST = 6  # characters of what may be a secret


class Outfit(msgspec.Struct, frozen=True):
    """A start as it is carried out. `headers` open the engine, `key` is what it asks of all who come ("": nothing).

    `hidden` is what must not be read in what it prints.
    """

    launch: Launch
    headers: Mapping[str, str]
    key: str
    hidden: tuple[str, ...]


def equip(launch: Launch, headers: Mapping[str, str], ration: Ration, hidden: Mapping[str, str]) -> Outfit:
    """`hidden` are variables for the engine with their secret values.

    Everything is told by the environment, which only the engine's user can read: anybody can read arguments.
    """
    environment = {**launch.environment, **ration.environment(), **hidden}
    key = ""
    if launch.key_variable:
        key = environment[launch.key_variable] = secrets.token_urlsafe(24)
        headers = {**headers, "Authorization": f"Bearer {key}"}
    words = (*_find_secrets(environment, headers), *hidden.values())
    found = tuple(word for word in dict.fromkeys(words) if len(word) >= _SHORTEST)
    return Outfit(msgspec.structs.replace(launch, environment=environment), headers, key, found)


def _find_secrets(environment: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[str]:
    yield from (value for name, value in environment.items() if _SECRET.search(name))
    yield from (text.split(" ")[-1] for text in headers.values())
