"""The fast decoder: documented records, decoded by a typed struct and read column by column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from protime_source.catalogue.model import Collection, Column, ColumnType
from protime_source.decode import arrow
from protime_source.decode.values import may_hold_unsupported

_FIELD_TYPES: dict[ColumnType, Any] = {
    "bigint": int | None,
    "text": str | None,
    "bool": bool | None,
    "date": str | None,
    "double": float | None,
    "json": msgspec.Raw,
}


class FastDecoder:
    """Decodes documented records of one collection, six times as fast as dictionaries.

    Args:
        collection: The collection that the records belong to.
    """

    def __init__(self, collection: Collection) -> None:
        records: Any = list[_record_type(collection)]  # type: ignore[misc]
        body = msgspec.defstruct("Body", [("value", records | None, None)], gc=False)
        self._decode = msgspec.json.Decoder(body).decode
        self._columns = collection.columns

    def decode(self, bodies: Iterable[bytes]) -> pa.Table | None:
        """Returns the documented columns of the records in some response bodies.

        Args:
            bodies: JSON objects whose `value` is an array of records.

        Returns:
            One Arrow table; None if a record has an undocumented field, or a value that its
            column cannot hold. `RecordDecoder` decodes such records.
        """
        try:
            records = [record for body in bodies for record in self._records(body)]
            return pa.table({column.name: _array(column, records) for column in self._columns})
        except (msgspec.DecodeError, RecursionError, pa.ArrowInvalid, OverflowError):
            return None

    def _records(self, body: bytes) -> Sequence[Any]:
        if may_hold_unsupported(body):
            raise msgspec.DecodeError("a character that the warehouse may not hold")
        decoded: Any = self._decode(body)
        return decoded.value or ()


def _record_type(collection: Collection) -> type[msgspec.Struct]:
    """Returns a struct of the documented fields, excluded ones too; it refuses any other field."""
    tree: dict[str, Any] = {}
    for column in collection.columns:
        _put(tree, column.path, _FIELD_TYPES[column.type])
    for column in collection.excluded:
        _put(tree, column.path, msgspec.Raw)
    tree["id"] = str if collection.id_type == "text" else int
    required = {"id"}
    if collection.has_version:
        tree["changeVersion"] = str
        required.add("changeVersion")
    return _struct(collection.table, tree, required)


def _put(tree: dict[str, Any], path: str, type_: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = type_


def _struct(
    name: str, fields: dict[str, Any], required: Set[str] = frozenset()
) -> type[msgspec.Struct]:
    """Returns a struct of fields by name; `gc=False` decodes it in two thirds of the time."""
    types = {
        field: _struct(field, type_) | None if isinstance(type_, dict) else type_
        for field, type_ in sorted(fields.items(), key=lambda item: item[0] not in required)
    }
    members: list[Any] = [
        (_attribute(field), type_) if field in required else (_attribute(field), type_, None)
        for field, type_ in types.items()
    ]
    rename = {_attribute(field): field for field in fields}
    return msgspec.defstruct(
        _attribute(name), members, rename=rename, gc=False, forbid_unknown_fields=True
    )


def _attribute(field: str) -> str:
    """Returns the attribute of a field, because `from` and `@badge-number` are no Python names.

    It does not begin with underscores, because Python would make two of them private.
    """
    return "f_" + re.sub(r"\W", "_", field)


def _array(column: Column, records: list[Any]) -> pa.Array:
    """Returns a column of the records; a missing version is an empty text."""
    values = _values(column.path, records)
    if column.type == "json":
        return arrow.json_text(values)
    array = arrow.array(values, arrow.TYPES[column.type])
    is_incomplete = column.name == "change_version" and array.null_count
    return array.fill_null("") if is_incomplete else array


def _values(path: str, records: list[Any]) -> list[Any]:
    """Returns one field of many records: None where the field or one of its parents is missing."""
    parts = [_attribute(part) for part in path.split(".")]
    try:
        return list(map(attrgetter(".".join(parts)), records))
    except AttributeError:  # a record without a parent
        values = records
        for part in parts:
            values = [None if owner is None else getattr(owner, part) for owner in values]
        return values
