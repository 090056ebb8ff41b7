"""Names that clients and upstreams read in headers."""

import re
from collections.abc import Iterable, Iterator

from gateway.link import door
from gateway.settings.problem import Problem
from gateway.settings.schema import Config

_is_header_name = re.compile(r"[!#-~]([ !#-~]*[!#-~])?").fullmatch


def check_names(config: Config) -> Iterator[Problem]:
    """A name that no header can hold would break every answer that tells it."""
    sections: dict[str, Iterable[str]] = {
        "tiers": config.tiers, "roles": config.roles, "consumers": config.consumers, "backends": config.backends,
        "models": config.models,
    }  # fmt: skip
    for section, names in sections.items():
        for name in names:
            if not _is_header_name(name):
                yield Problem(f"{section}.{name}", 'the name stands in headers: write it in ASCII, without `"`')
    if door.NAME in config.backends:
        yield Problem(f"backends.{door.NAME}", "this name is the gateway's own; take another one")
    for name, consumer in config.consumers.items():
        if consumer.project and not _is_header_name(consumer.project):
            yield Problem(f"consumers.{name}.project", 'it stands in headers: write it in ASCII, without `"`')
