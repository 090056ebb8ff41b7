"""The API as OpenAPI 3.1, made of the table of endpoints and of the routes of the configuration. Pure."""

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

import gateway
from gateway.control.api.call import Call, Query
from gateway.control.api.endpoint import Door, Endpoint
from gateway.control.api.paging import Meta, Pagination
from gateway.errors import CATALOGUE
from gateway.settings.schema import Config, Route

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_ENVELOPE = {
    "error": {"$ref": "#/components/schemas/Error"},
    "meta": {"type": "object"},
}  # fmt: skip
# What any answer may say, whatever is asked: who calls, how it came, limits, the store, the gateway itself.
_ANYWHERE = (
    *range(1001, 1100), *range(1101, 1108), *range(1201, 1211), 1215, 1217, 1219, 1301, *range(1501, 1509), 1601, 1602,
    1603, 1605, 1702, 1803, 1804, *range(1805, 1808), 1811, *range(1900, 1905),
)  # fmt: skip
_WITH_BODY = (1211, 1212, 1213, 1214, 1222)
_OWN = (
    ("get", "/v1/models", "The models that the caller may use", True),
    ("get", "/v1/models/stats", "How much each model is used", True),
    ("get", "/v1/models/{id}", "One model", True),
    ("post", "/v1/models/{id}/load", "Load a model", True),
    ("delete", "/v1/models/{id}", "Unload a model", True),
    ("get", "/errors/{number}", "What a number of the catalogue means", False),
    ("get", "/api/v1/me", "The caller: who he is, what he may, what he has left", True),
    ("post", "/api/v1/me/keys/rotate", "A new key in place of the one that is used", True),
)
_find_names = re.compile(r"\{(\w+)\}").findall


def describe(endpoints: Iterable[Endpoint], door: Door, config: Config) -> Json:
    """The document of one door."""
    served = [endpoint for endpoint in endpoints if door in endpoint.doors]
    schemas, components = _collect(served)
    paths: dict[str, Json] = {}
    for endpoint in served:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, components)
    if door == "client":
        _add_routes(paths, config)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tollkeeper", "version": gateway.__version__},
        "security": [{"bearer": []}] if door == "admin" else [{"bearer": []}, {"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }  # fmt: skip


def _collect(endpoints: Iterable[Endpoint]) -> tuple[Mapping[Any, Json], Json]:
    """The schema of every type, and what they refer to. `?fields=` leaves members of answers out: none is required."""
    endpoints = tuple(endpoints)
    bodies = [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    answers = [endpoint.answer for endpoint in endpoints if not isinstance(endpoint.answer, dict)]
    queries = [endpoint.query for endpoint in endpoints]
    types = list(dict.fromkeys([*bodies, *queries, *answers, Meta, Pagination]))
    made, components = msgspec.json.schema_components(types, ref_template=_REF)
    _, needed = msgspec.json.schema_components(bodies, ref_template=_REF)
    for name, schema in components.items():
        if name not in needed:
            schema.pop("required", None)
    components["Error"] = _error_schema()
    return dict(zip(types, made, strict=True)), components


def _operation(endpoint: Endpoint, schemas: Mapping[Any, Json], components: Json) -> Json:
    operation: Json = {
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', endpoint.path).rstrip('_')}",
        "summary": endpoint.summary,
        "tags": [endpoint.handler.__module__.rpartition(".")[2]],
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(schemas[endpoint.query], components)],
        "responses": {str(endpoint.status): _success(endpoint, schemas), **_refusals(endpoint)},
    }
    if endpoint.permissions:
        operation["description"] = f"Asks for {' or '.join(f'`{one}`' for one in endpoint.permissions)}."
    if endpoint.body is not None:
        content = {"application/json": {"schema": schemas[endpoint.body]}}
        operation["requestBody"] = {"content": content, "required": bool(_required(endpoint.body))}
    if endpoint.is_open:
        operation["security"] = []
    return operation


def _success(endpoint: Endpoint, schemas: Mapping[Any, Json]) -> Json:
    data = endpoint.answer if isinstance(endpoint.answer, dict) else schemas[endpoint.answer]
    streams: Json = {media: {} for media in endpoint.media}
    if endpoint.form == "stream":
        return {"description": "As it comes", "content": streams or {"text/event-stream": {}}}
    members: Json = {"status": {"const": "success"}, "data": data, "meta": schemas[Meta]}
    if endpoint.form == "list":
        members |= {"data": {"type": "array", "items": data}, "pagination": schemas[Pagination]}
    schema = {"type": "object", "properties": members, "required": list(members)}
    return {"description": "Done", "content": {"application/json": {"schema": schema}, **streams}}


def _refusals(endpoint: Endpoint) -> Json:
    numbers = {*_ANYWHERE, *endpoint.errors, *(_WITH_BODY if endpoint.body is not None else ())}
    if "{" in endpoint.path:
        numbers.add(1303)
    told = _errors(numbers)
    if endpoint.method == "GET" and endpoint.form != "stream":
        told["304"] = {"description": "The caller has it already (If-None-Match)"}
    return told


def _errors(numbers: Iterable[int]) -> Json:
    """A response for each status, with the numbers that have it."""
    by_status: dict[int, list[str]] = {}
    for number in sorted(numbers):
        if (entry := CATALOGUE.get(number)) is not None:
            by_status.setdefault(entry.status, []).append(f"{number} {entry.code}")
    return {
        str(status): _refusal(f"{HTTPStatus(status).phrase}: {', '.join(codes)}") for status, codes in by_status.items()
    }


def _refusal(description: str) -> Json:
    schema = {"type": "object", "properties": _ENVELOPE, "required": ["error"]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _path_parameters(path: str) -> list[Json]:
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in _find_names(path)]


def _query_parameters(schema: Json, components: Json) -> list[Json]:
    found = components[schema["$ref"].rpartition("/")[2]]
    return [{"name": name, "in": "query", "schema": one} for name, one in found["properties"].items()]


def _required(shape: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(shape) if field.required]


def _error_schema() -> Json:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "message": text, "type": text, "param": {"type": ["string", "null"]}, "code": text,
            "number": {"type": "integer"}, "category": text, "details": {"type": "object"},
        },
        "required": ["message", "type", "param", "code", "number", "category", "details"],
    }  # fmt: skip


def _add_routes(paths: dict[str, Json], config: Config) -> None:
    """What is no endpoint of this API, told by path and method alone: models, and the worker's own pages."""
    for method, path, summary, is_closed in _OWN:
        _add(paths, path, method, summary, is_closed)
    for route in config.routes:
        path = f"{route.path[:-2]}/{{rest}}" if route.path.endswith("/*") else route.path
        for method in _methods(route):
            to = "the model that the body names" if route.to == "models" else f"the backend {route.to}"
            _add(paths, path, method.lower(), f"On to {to}", route.auth == "required")


def _methods(route: Route) -> Iterable[str]:
    return route.methods or (("POST",) if route.to == "models" else ("GET", "POST"))


def _add(paths: dict[str, Json], path: str, method: str, summary: str, is_closed: bool) -> None:
    operation: Json = {
        "summary": summary, "tags": ["gateway"], "parameters": _path_parameters(path),
        "responses": {"200": {"description": "Done"}, "default": {"description": "A refusal, with a number"}},
    }  # fmt: skip
    if not is_closed:
        operation["security"] = []
    paths.setdefault(path, {}).setdefault(method, operation)


def endpoints_of(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Where the document itself is to be had: to anybody who reaches the proxy, to operators at theirs."""

    def serve(door: Door) -> Callable[[Call[Query, None]], Coroutine[Any, Any, web.Response]]:
        async def show(call: Call[Query, None]) -> web.Response:
            body = msgspec.json.encode(describe((*endpoints, *own), door, call.house.config()))
            return web.Response(body=body, content_type="application/json")

        return show

    media, summary = ("application/json",), "This API as OpenAPI 3.1"
    own = (
        Endpoint(method="GET", path="/openapi.json", summary=summary, handler=serve("client"), doors=("client",),
                 form="stream", media=media, is_open=True),
        Endpoint(method="GET", path="/admin/openapi.json", summary=summary, handler=serve("admin"), doors=("admin",),
                 form="stream", media=media),
    )  # fmt: skip
    return own
