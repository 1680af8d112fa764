"""JSON records of a collection, decoded: fast where they look as documented, whole where not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import date
from operator import attrgetter
from typing import Any

import msgspec

from protime_source.collections import Collection, Column, ColumnType
from protime_source.errors import ProtocolError

logger = logging.getLogger(__name__)

Row = dict[str, Any]
"""A row by column names; dates as ISO text, json as its text, fields we do not know beside them."""

_FIELD_TYPES: dict[ColumnType, Any] = {
    "bigint": int | None,
    "text": str | None,
    "bool": bool | None,
    "date": str | None,
    "json": msgspec.Raw,
}
MARKS = frozenset({"is_deleted", "deleted_at", "delete_reason", "synced_at"})
"""The columns that say what we know of a row, and Protime does not send."""

_INT64 = range(-(2**63), 2**63)
_KEYS = {"id": int, "changeVersion": str}
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class RecordDecoder:
    """Decodes records and events of one collection.

    The documented fields are decoded by a typed struct, six times as fast as dictionaries. A
    page with anything else in it (a field that the API added, a value of another type) is
    decoded once more, field by field, so that nothing is dropped in silence.

    Args:
        collection: Whose records.
        normalize: dlt's naming convention, for the names of undocumented fields.
    """

    def __init__(self, collection: Collection, normalize: Callable[[str], str]) -> None:
        self._collection = collection
        self._normalize = normalize
        self._paths = {column.path for column in collection.columns}
        self._taken = {column.name for column in collection.columns} | MARKS
        self._record = _struct(collection)
        self._page = msgspec.json.Decoder(list[self._record] | None)  # type: ignore[name-defined]
        self._events = msgspec.json.Decoder(list[_Event] | None)
        self._getters = [(column, _getter(column.path)) for column in collection.columns]
        self._told: set[tuple[str, str]] = set()

    def columns(self, records: msgspec.Raw) -> dict[str, list[Any]] | None:
        """Decodes a page column by column.

        Args:
            records: The JSON array of a page.

        Returns:
            The values of each documented column, or `None` when the page holds something that
            is not documented, and `rows` has to read it.
        """
        try:
            decoded = self._page.decode(records) or []
        except msgspec.ValidationError:
            return None
        except msgspec.DecodeError as error:
            raise self._unreadable() from error
        return {
            column.name: [_plain(value) for value in get(decoded)]
            if column.type == "json"
            else list(get(decoded))
            for column, get in self._getters
        }

    def rows(self, records: msgspec.Raw) -> list[Row]:
        """Decodes a page record by record, with every field.

        Raises:
            ProtocolError: When a record has no usable id or changeVersion.
        """
        try:
            decoded = msgspec.json.decode(records, type=list[msgspec.Raw] | None) or []
        except msgspec.DecodeError as error:
            raise self._unreadable() from error
        return [self._row(record) for record in decoded]

    def events(self, records: msgspec.Raw) -> list[tuple[str, Row]]:
        """Decodes the events of a delta answer: change type and row, nulls left out.

        Raises:
            ProtocolError: When an event has no usable id or changeVersion.
        """
        try:
            decoded = self._events.decode(records) or []
        except msgspec.DecodeError as error:
            raise ProtocolError(f"A delta event is not as documented: {error}.") from error
        return [(event.changeType, self._row(event.data)) for event in decoded]

    def _row(self, record: msgspec.Raw) -> Row:
        fields = self._flatten(record)
        row: Row = {}
        for column in self._collection.columns:
            if (raw := fields.pop(column.path, None)) is not None:
                row[column.name] = self._value(column, raw)
        for key in ("id", "change_version"):
            if row.get(key) is None:
                raise ProtocolError(f"A record of {self._collection.name} has no usable {key}.")
        for path, raw in fields.items():
            if (value := self._undocumented(raw)) is not None:
                row[self._undocumented_name(path, row)] = value
        return row

    def _flatten(self, record: msgspec.Raw) -> dict[str, msgspec.Raw]:
        """Fields by path, undocumented objects opened by one level; arrays stay whole."""
        fields: dict[str, msgspec.Raw] = {}
        for name, raw in self._decode_object(record).items():
            if name not in self._paths and bytes(raw).startswith(b"{"):
                inner = self._decode_object(raw)
                fields |= {f"{name}.{leaf}": value for leaf, value in inner.items()}
            else:
                fields[name] = raw
        return fields

    def _decode_object(self, raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
        try:
            return _raw_fields(raw)
        except msgspec.DecodeError as error:
            raise self._unreadable() from error

    def _undocumented(self, raw: msgspec.Raw) -> Any:
        """A value of a field we do not know: scalars as they are, the rest as JSON text."""
        text = bytes(raw).decode()
        if text.startswith(("{", "[")):
            return JsonText(text)
        value = self._decode_scalar(raw)
        return str(value) if isinstance(value, int) and value not in _INT64 else value

    def _decode_scalar(self, raw: msgspec.Raw) -> Any:
        """The value; a number that no computer holds, as its text."""
        try:
            return msgspec.json.decode(raw)
        except msgspec.ValidationError:
            return bytes(raw).decode()
        except msgspec.DecodeError as error:
            raise self._unreadable() from error

    def _unreadable(self) -> ProtocolError:
        return ProtocolError(
            f"A record of {self._collection.name} cannot be read: it is no JSON object, or holds"
            " text that is not Unicode. Nothing of this run was loaded."
        )

    def _value(self, column: Column, raw: msgspec.Raw) -> Any:
        value = self._decode_scalar(raw)
        try:
            return None if value is None else _COERCE[column.type](value, raw)
        except (ValueError, TypeError):
            self._tell(
                column.name,
                "has a value that is no %s: loaded as empty",
                column.type,
            )
            return None

    def _undocumented_name(self, path: str, row: Row) -> str:
        """A column of its own, also for a field whose name is taken by another."""
        name = self._normalize(path.replace(".", "_").strip() or "unnamed")
        while name in self._taken or name in row:
            name = f"protime_{name}"
        self._tell(name, "is a field that Protime's documentation does not have: loaded as it came")
        return name

    def _tell(self, column: str, message: str, *args: object) -> None:
        """Warns once per column; never names the value, which may be personal."""
        if (key := (column, message)) not in self._told:
            self._told.add(key)
            logger.warning("%s.%s " + message, self._collection.table, column, *args)


class _Event(msgspec.Struct, gc=False):
    """One event (documentation: reference/delta). Unknown change types count as updates."""

    changeType: str  # noqa: N815  # Protime's spelling
    data: msgspec.Raw


def _struct(collection: Collection) -> type[msgspec.Struct]:
    """A struct of the documented fields; any other field makes decoding fail."""
    fields: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for column in collection.columns:
        parent, dot, leaf = column.path.rpartition(".")
        owner = nested.setdefault(parent, {}) if dot else fields
        owner[leaf] = _KEYS.get(column.path, _FIELD_TYPES[column.type])
    for parent, children in nested.items():
        fields[parent] = _define(parent, children) | None
    return _define(collection.name.replace("-", "_"), fields)


def _define(name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    """Fields are renamed (`from` is no name in Python); `gc=False`: a third faster to decode."""
    members: list[Any] = [
        (_attribute(field), kind) if field in _KEYS else (_attribute(field), kind, None)
        for field, kind in sorted(fields.items(), key=lambda item: item[0] not in _KEYS)
    ]
    rename = {_attribute(field): field for field in fields}
    return msgspec.defstruct(name, members, rename=rename, gc=False, forbid_unknown_fields=True)


def _attribute(field: str) -> str:
    return f"{field}_"


def _getter(path: str) -> Callable[[list[Any]], Iterable[Any]]:
    """Reads one field of many records; a missing parent gives `None`."""
    parent, dot, leaf = path.rpartition(".")
    get = attrgetter(_attribute(leaf))
    if not dot:
        return lambda records: map(get, records)
    above = attrgetter(_attribute(parent))
    return lambda records: (None if owner is None else get(owner) for owner in map(above, records))


def _plain(raw: msgspec.Raw | None) -> str | None:
    """The JSON text as Protime sent it; JSON's null is an absent value."""
    return None if raw is None or (text := bytes(raw)) == b"null" else text.decode()


class JsonText(str):
    """Text that is JSON, and belongs into a json column."""

    __slots__ = ()


def _to_bigint(value: Any, _: msgspec.Raw) -> int:
    number = int(value)
    is_whole = isinstance(value, str) or number == value
    if isinstance(value, bool) or not is_whole or number not in _INT64:
        raise ValueError("not an integer of 64 bits")
    return number


def _to_bool(value: Any, _: msgspec.Raw) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def _to_text(value: Any, raw: msgspec.Raw) -> str:
    return value if isinstance(value, str) else bytes(raw).decode()


def _to_date(value: Any, _: msgspec.Raw) -> str:
    return date.fromisoformat(value[:10]).isoformat()


_COERCE: dict[ColumnType, Callable[[Any, msgspec.Raw], Any]] = {
    "bigint": _to_bigint,
    "text": _to_text,
    "bool": _to_bool,
    "date": _to_date,
    "json": lambda _, raw: bytes(raw).decode(),
}
