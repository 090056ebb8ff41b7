"""What goes to a server and comes from it, made even: as the backend describes it."""

import msgspec

from gateway.backend import AnyBackend
from gateway.errors import GatewayError
from gateway.exchange import Exchange

_read_messages = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_read_number = msgspec.json.Decoder(float)
_encode = msgspec.json.Encoder().encode


class _Part(msgspec.Struct):
    """One of those that a message's content may be made of."""

    type: str
    text: str = ""


_read_parts = msgspec.json.Decoder(list[_Part])


def fit_fields(exchange: Exchange, fields: dict[str, msgspec.Raw], backend: AnyBackend) -> None:
    """Change the `fields` of a body in place.

    Raises GatewayError 1220 for one that must not reach the server, 1214 for more choices than it would give.
    """
    if not backend.withheld.isdisjoint(fields):
        field = min(backend.withheld & fields.keys())
        raise GatewayError(1220, f"The model server does not take the field {field!r} from clients.", param=field)
    if backend.choices and "n" in fields and _exceeds(fields["n"], backend.choices):
        told = "one choice" if backend.choices == 1 else f"{backend.choices} choices"
        raise GatewayError(1214, f"The model server gives {told} at most.", param="n")
    for name, theirs in backend.renamed.items():
        if name in fields:
            fields[theirs] = fields.pop(name)
            exchange.body = None
    if backend.joins_parts and "messages" in fields and (joined := _join_parts(fields["messages"])) is not None:
        fields["messages"] = joined
        exchange.body = None


def find_other_name(exchange: Exchange, backend: AnyBackend) -> str:
    """What the server calls the model in its answers, where that is not its name here; else empty."""
    theirs = backend.answers_as
    return theirs if exchange.fields is not None and theirs != exchange.model else ""


def _exceeds(raw: msgspec.Raw, most: int) -> bool:
    """Whether a number is above `most`; what is none is left to the server."""
    try:
        return _read_number.decode(raw) > most
    except msgspec.MsgspecError:
        return False


def _join_parts(messages: msgspec.Raw) -> msgspec.Raw | None:
    """Messages whose contents are texts, where they were lists of texts; None where there is nothing to join.

    The texts become lines, as llama.cpp makes it. A content with anything else in it is left to the server.
    """
    if b'"type"' not in bytes(messages):
        return None
    try:
        read = _read_messages.decode(messages)
        contents = {at: _join(message["content"]) for at, message in enumerate(read) if "content" in message}
    except msgspec.MsgspecError:
        return None
    for at, text in contents.items():
        if text is not None:
            read[at]["content"] = msgspec.Raw(_encode(text))
    return msgspec.Raw(_encode(read)) if any(text is not None for text in contents.values()) else None


def _join(content: msgspec.Raw) -> str | None:
    if not bytes(content).lstrip().startswith(b"["):
        return None
    parts = _read_parts.decode(content)
    return "\n".join(part.text for part in parts) if all(part.type == "text" for part in parts) else None
