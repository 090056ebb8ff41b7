"""From the file to a `Config`, and from the plain data that travels on the link to a `Config`."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.settings.document import Document, read_document
from gateway.settings.problem import ConfigError, Problem
from gateway.settings.roles import write_out_roles
from gateway.settings.schema import Config
from gateway.settings.shape import compare, convert_unit
from gateway.settings.shorthand import write_out


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Read, expand and build the file at `path`; raises ConfigError with everything that does not fit the schema."""
    return build(read(path, environ))


def load_text(text: str, environ: Mapping[str, str] = os.environ) -> Config:
    """As `load`, of a text."""
    return build(read_document(text, environ))


def read(path: str, environ: Mapping[str, str] = os.environ) -> Document:
    """The file as it stands, expanded; raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError([Problem("", f"{path} cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("", f"{path} is not UTF-8 text")]) from None
    return read_document(text, environ)


def build(document: Document) -> Config:
    """The Config of a document, its roles written out. Raises ConfigError with every unknown key and wrong value."""
    data, problems = write_out(document.data)
    problems.extend(compare(data, Config))
    if problems:
        located = [msgspec.structs.replace(problem, line=document.line(problem.path)) for problem in problems]
        raise ConfigError(sorted(located, key=lambda problem: problem.line))
    return write_out_roles(from_plain(data))


def plain(config: Config) -> dict[str, Any]:
    """`config` as data that msgpack and JSON can carry; `from_plain` takes it back."""
    data: dict[str, Any] = msgspec.to_builtins(config, enc_hook=lambda value: value.plain())
    return data


def from_plain(data: Any) -> Config:
    """The Config of plain data in its long form; raises msgspec.ValidationError."""
    return msgspec.convert(data, Config, dec_hook=convert_unit)
