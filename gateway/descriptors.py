"""What a worker inherits, and how it is told so: descriptors, by number on the command line."""

import argparse

import msgspec


class Descriptors(msgspec.Struct, frozen=True):
    """Inherited descriptors: the link, the pipe that ends with the supervisor, the metrics file, the listeners."""

    link: int
    alive: int
    metrics: int
    listen: tuple[int, ...]


def read_arguments() -> tuple[str, Descriptors]:
    """The worker's name and its descriptors."""
    parser = argparse.ArgumentParser(prog="gateway.worker")
    parser.add_argument("--name", required=True)
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--alive", type=int, required=True)
    parser.add_argument("--metrics", type=int, required=True)
    parser.add_argument("--listen", default="")
    given = parser.parse_args()
    listen = tuple(int(part) for part in given.listen.split(",") if part)
    return given.name, Descriptors(given.link, given.alive, given.metrics, listen)
