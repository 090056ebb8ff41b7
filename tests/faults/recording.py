"""Answers as the public references of the APIs show them: `recorded/<name>.sse` are streams, `.json` whole answers."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "recorded"
STREAMS = tuple(sorted(path.stem for path in _FOLDER.glob("*.sse")))
WHOLE = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def stream_of(name: str) -> bytes:
    return (_FOLDER / f"{name}.sse").read_bytes()


def events_of(name: str) -> list[bytes]:
    """The events of a stream, without their empty lines."""
    return stream_of(name).split(b"\n\n")[:-1]


def answer_of(name: str) -> bytes:
    return (_FOLDER / f"{name}.json").read_bytes()
