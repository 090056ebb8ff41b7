"""Attributes as OTLP writes them, and what a row is called in OpenTelemetry's words.

Source: the semantic conventions for HTTP and for generative AI (open-telemetry/semantic-conventions-genai).
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from gateway import __version__
from gateway.catalogue import CATALOGUE
from gateway.journal import Closed

Value = str | int | float | bool | list[str]

SCOPE = InstrumentationScope(name="tollkeeper", version=__version__)

_OPERATIONS = {"chat": "chat", "responses": "chat", "messages": "chat", "completions": "text_completion"}


def encode_attributes(found: Mapping[str, Value | None]) -> list[KeyValue]:
    """What is None, empty or 0 tells nothing and is left out."""
    return [KeyValue(key=key, value=_encode(value)) for key, value in found.items() if value]


def _encode(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=item) for item in value]))


def describe_resource(environment: str, instance: str) -> Resource:
    """Who tells: this gateway."""
    found = {
        "service.name": "tollkeeper", "service.version": __version__, "service.instance.id": instance,
        "deployment.environment.name": environment,
    }  # fmt: skip
    return Resource(attributes=encode_attributes(found))


def name_operation(closed: Closed) -> str:
    """`gen_ai.operation.name`; where the conventions have no word for it, ours."""
    return _OPERATIONS.get(closed.opened.operation, closed.opened.operation)


def name_error(closed: Closed) -> str:
    """`error.type`: the code of the catalogue, or the status that the model server gave; empty where nothing failed."""
    if closed.error:
        entry = CATALOGUE.get(closed.error)
        return entry.code if entry is not None else str(closed.error)
    return str(closed.upstream_status) if closed.upstream_status >= 400 else ""


def describe_model(closed: Closed) -> dict[str, Value | None]:
    """What spans and metrics alike tell of a call of a model."""
    opened = closed.opened
    return {
        "gen_ai.operation.name": name_operation(closed),
        "gen_ai.provider.name": opened.provider,
        "gen_ai.request.model": opened.model_asked if opened.model else "",  # else it is the client's own word
        "gen_ai.response.model": opened.model,
        "error.type": name_error(closed),
    }


def describe_server(endpoint: str) -> dict[str, Value | None]:
    """Where a model server is."""
    parts = urlsplit(endpoint)
    try:
        return {"server.address": parts.hostname, "server.port": parts.port}
    except ValueError:
        return {"server.address": parts.hostname}
