"""What makes requests alike, so that they go to the same endpoint: the keys of `balance: {hash: …}`."""

from collections.abc import Callable

import msgspec

from gateway.exchange import Exchange

PREFIX = 4096  # bytes of a prompt that are compared

KeyOf = Callable[[Exchange], bytes]


class _Message(msgspec.Struct):
    """As much of a chat's message as tells where its beginning ends."""

    content: msgspec.Raw = msgspec.Raw(b"")
    role: str = ""


_messages = msgspec.json.Decoder(list[_Message])


def find_key(source: str) -> KeyOf:
    """How the key is read that `source` names. An empty key is none: such a request may go anywhere."""
    if source.startswith("header:"):
        return _header(source.removeprefix("header:"))
    return {"prefix": _prefix, "session": _header("x-session-id"), "consumer": _consumer}[source]


def _header(name: str) -> KeyOf:
    field = name.lower().encode()
    return lambda exchange: exchange.head.get(field) or b""


def _consumer(exchange: Exchange) -> bytes:
    """Who asks; where nobody is known, the address."""
    credential = exchange.credential
    return (credential.consumer if credential is not None else exchange.peer).encode()


def _prefix(exchange: Exchange) -> bytes:
    """The beginning of the prompt, for engines that remember what they have read.

    Of a chat it is what stands up to the first words of the user: the same in every turn of a conversation.
    """
    fields = exchange.fields or {}
    if (messages := fields.get("messages")) is not None:
        return _opening(bytes(messages))
    prompt = fields.get("prompt") or fields.get("input")
    return b"" if prompt is None else bytes(prompt)[:PREFIX]


def _opening(messages: bytes) -> bytes:
    try:
        spoken = _messages.decode(messages)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return messages[:PREFIX]  # the engine will say what is wrong with it
    parts = []
    for message in spoken:
        parts.append(bytes(message.content))
        if message.role == "user":
            break
    return b"".join(parts)[:PREFIX]
