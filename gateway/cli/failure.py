"""How a command ends that could not do what was asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def one_line(*errors: type[Exception]) -> Iterator[None]:
    """One of `errors` is a line on standard error, and exit code 1."""
    try:
        yield
    except errors as error:
        click.echo(f"tollkeeper: {error}", err=True)
        raise SystemExit(1) from None
