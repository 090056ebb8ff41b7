"""Traces as Parquet, where the package pyarrow is installed (the extra `parquet`)."""

import io
from collections.abc import Sequence
from datetime import datetime
from types import UnionType
from typing import Any, get_args

import msgspec

from gateway.control.query.view import Failure, Trace
from gateway.errors import GatewayError

_MOMENTS = frozenset(("ts", "finished"))
_HINTS = {field.name: field.type for field in msgspec.structs.fields(Trace)}


class Parquet:
    """Columns with types; a row group a page. Raises GatewayError 1905 without the package."""

    def __init__(self, columns: Sequence[str]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            text = "Parquet needs a package that is not installed here: pip install 'tollkeeper[parquet]'."
            raise GatewayError(1905, text) from None
        types = _list_types(pyarrow)
        self._pyarrow = pyarrow
        self._schema = pyarrow.schema([(name, types[_type_of(name)]) for name in columns])
        self._pipe = _Pipe()
        self._writer = pyarrow.parquet.ParquetWriter(self._pipe, self._schema)

    def head(self) -> bytes:
        return self._pipe.take()

    def rows(self, traces: Sequence[Trace]) -> bytes:
        columns = [[_plain(name, getattr(trace, name)) for trace in traces] for name in self._schema.names]
        types = self._schema.types
        arrays = [self._pyarrow.array(column, type=type) for column, type in zip(columns, types, strict=True)]
        self._writer.write_batch(self._pyarrow.record_batch(arrays, schema=self._schema))
        return self._pipe.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._pipe.take()


class _Pipe(io.RawIOBase):
    """A file that is read as it is written. Its positions are those of the whole file: Parquet notes them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(part := bytes(data))
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        """What was written since it was last asked for."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _plain(name: str, value: Any) -> Any:
    if value is not None and name in _MOMENTS:
        return datetime.fromisoformat(value)
    if isinstance(value, Failure):
        return value.number
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value


def _type_of(name: str) -> Any:
    """What a field of Trace is where it is not null."""
    if name in _MOMENTS:
        return datetime
    hint = _HINTS[name]
    return next(part for part in get_args(hint) if part is not type(None)) if isinstance(hint, UnionType) else hint


def _list_types(pyarrow: Any) -> dict[Any, Any]:
    text, number = pyarrow.string(), pyarrow.int64()
    return {
        str: text, int: number, float: pyarrow.float64(), bool: pyarrow.bool_(), Failure: number,
        datetime: pyarrow.timestamp("us", tz="UTC"), list[str]: pyarrow.list_(text), dict[str, str]: text,
    }  # fmt: skip
