"""The JSON Schema of the configuration file for editors: short forms and the settings of every known plugin and engine.

It is made from the same Structs as everything else. Where a number is wanted, `${...}` may stand.
"""

import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from gateway.loader import Kind, find_settings, known_names
from gateway.settings.schema import Backend, Config, Content, Fallback, Listen, Listener, Model, Route
from gateway.settings.units import Budget, Bytes, Pause, Rate, Seconds

Schema = dict[str, Any]

_REFERENCE = r"\$\{"
_LEAVES: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": ["integer", "string"], "pattern": _REFERENCE},
    float: {"type": ["number", "string"], "pattern": _REFERENCE},
    bool: {"type": ["boolean", "string"], "pattern": _REFERENCE},
    Any: {},
    Seconds: {"type": ["number", "string"], "pattern": rf"^[0-9_.]+ *(ms|s|min|m|h|d)$|{_REFERENCE}"},
    Pause: {"type": ["boolean", "number", "string"], "pattern": rf"^[0-9_.]+ *(ms|s|min|m|h|d)$|{_REFERENCE}"},
    Bytes: {"type": ["integer", "string"], "pattern": rf"^[0-9_.]+ *([kKmMgG][iI]?)?[bB]?$|{_REFERENCE}"},
    Budget: {"type": "string", "pattern": rf"^[0-9_.]+ *USD */ *month$|{_REFERENCE}"},
    Rate: {"type": "string", "pattern": rf"^[1-9][0-9_]* */ *[a-z]+$|^unlimited$|{_REFERENCE}"},
}


def make_schema() -> Schema:
    """What `config/gateway.schema.json` holds. Imports every plugin and backend."""
    definitions: dict[str, Schema] = {}
    root = _object(Config, definitions)
    _allow_short_forms(definitions)
    root["properties"]["plugins"] = definitions["Route"]["properties"]["plugins"] = _plugins(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tollkeeper's configuration",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _describe(shape: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of a type; Structs are put into `definitions` and referred to."""
    origin, arguments = get_origin(shape), get_args(shape)
    if hasattr(shape, "__metadata__"):
        return _describe(shape.__origin__, definitions) | _bounds(shape.__metadata__[0])
    if origin in (Union, types.UnionType):
        options = [_describe(part, definitions) for part in arguments if part is not types.NoneType]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(arguments[1], definitions)}
    if origin in (tuple, list):
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if shape in _LEAVES:
        return dict(_LEAVES[shape])
    if shape.__name__ not in definitions:
        definitions[shape.__name__] = _object(shape, definitions)
    return {"$ref": f"#/$defs/{shape.__name__}"}


def _object(shape: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    fields = [field for field in msgspec.structs.fields(shape) if shape is not Backend or field.name != "engine"]
    result: Schema = {
        "type": "object",
        "description": " ".join((shape.__doc__ or "").split()),
        "properties": {field.encode_name: _describe(field.type, definitions) for field in fields},
        "required": [field.encode_name for field in fields if field.required],
        "additionalProperties": False,
    }
    return {key: value for key, value in result.items() if value not in ("", [])}


def _bounds(meta: msgspec.Meta) -> Schema:
    return {name: value for name, value in (("minimum", meta.ge), ("maximum", meta.le)) if value is not None}


def _parts(kind: Kind, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """The settings of every known plugin or backend by name; empty ones may be left out."""
    parts: dict[str, Schema] = {}
    for name in known_names(kind):
        definitions[f"{kind}.{name}"] = _object(find_settings(kind, name), definitions)
        parts[name] = {"anyOf": [{"$ref": f"#/$defs/{kind}.{name}"}, {"type": "null"}]}
    return parts


def _plugins(definitions: dict[str, Schema]) -> Schema:
    parts = _parts("plugin", definitions)
    named = {"type": "object", "properties": parts, "additionalProperties": False}
    return {
        "type": "array",
        "items": {"anyOf": [{"enum": [*parts]}, {**named, "minProperties": 1, "maxProperties": 1}]},
    }


def _allow_short_forms(definitions: dict[str, Schema]) -> None:
    """As `shorthand` writes them out."""
    listener = definitions[Listener.__name__]
    listener["properties"] |= {"cert": {"type": "string"}, "key": {"type": "string"}}
    one = {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{Listener.__name__}"}]}
    definitions[Listen.__name__]["properties"]["proxy"] = {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}
    names = {"type": "array", "items": {"type": "string"}}
    definitions[Model.__name__]["properties"]["fallback"] = {
        "anyOf": [{"$ref": f"#/$defs/{Fallback.__name__}"}, {"type": "string"}, names]
    }
    definitions[Route.__name__]["properties"]["content"] = {
        "anyOf": [{"$ref": f"#/$defs/{Content.__name__}"}, {"type": "boolean"}]
    }
    engines = _parts("backend", definitions)
    definitions[Backend.__name__]["properties"] |= engines
    definitions[Backend.__name__]["oneOf"] = [{"required": [name]} for name in engines]
