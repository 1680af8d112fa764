"""Records that look as documented: decoded at once, and read column by column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, cast

import msgspec
import pyarrow as pa

from protime_source.catalogue.model import Collection, Column, ColumnType
from protime_source.decode import arrow
from protime_source.decode.values import may_need_mending

_FIELD_TYPES: dict[ColumnType, Any] = {
    "bigint": int | None,
    "text": str | None,
    "bool": bool | None,
    "date": str | None,
    "double": float | None,
    "json": msgspec.Raw,
}


class FastDecoder:
    """Decodes records of one collection by a typed struct, six times as fast as dictionaries.

    Args:
        collection: Whose records.
    """

    def __init__(self, collection: Collection) -> None:
        records: Any = list[_struct(collection)]  # type: ignore[misc]
        answer = msgspec.defstruct("Answer", [("value", records | None, None)], gc=False)
        self._decode_body = msgspec.json.Decoder(answer).decode
        self._getters = [(column, _getter(column.path)) for column in collection.columns]

    def decode(self, answers: Iterable[bytes]) -> pa.Table | None:
        """The documented columns of the records in some answers.

        Args:
            answers: Their JSON.

        Returns:
            A table; `None` when they hold something that is not documented, or that a column
            cannot hold.
        """
        try:
            records = [record for answer in answers for record in self._records(answer)]
            return pa.table(self._columns(records))
        except (msgspec.DecodeError, RecursionError, pa.ArrowInvalid, OverflowError):
            return None

    def _records(self, answer: bytes) -> Sequence[Any]:
        if may_need_mending(answer):
            raise msgspec.DecodeError("a character that the warehouse may not hold")
        decoded: Any = self._decode_body(answer)
        return decoded.value or ()

    def _columns(self, records: list[Any]) -> dict[str, pa.Array]:
        return {column.name: _array(column, get(records)) for column, get in self._getters}


def _struct(collection: Collection) -> type[msgspec.Struct]:
    """A struct of the documented fields; any other field makes decoding fail."""
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
    return _define(collection.table, tree, required)


def _put(tree: dict[str, Any], path: str, kind: Any) -> None:
    """Puts a type at its place below the objects that the path names."""
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = kind


def _define(
    name: str, fields: dict[str, Any], required: Set[str] = frozenset()
) -> type[msgspec.Struct]:
    """Fields are renamed (`from` is no name in Python); `gc=False`: a third faster to decode."""
    kinds = {
        field: _define(field, kind) | None if isinstance(kind, dict) else kind
        for field, kind in sorted(fields.items(), key=lambda item: item[0] not in required)
    }
    members: list[Any] = [
        (_attribute(field), kind) if field in required else (_attribute(field), kind, None)
        for field, kind in kinds.items()
    ]
    rename = {_attribute(field): field for field in fields}
    return msgspec.defstruct(
        _attribute(name), members, rename=rename, gc=False, forbid_unknown_fields=True
    )


def _attribute(field: str) -> str:
    """No underscore at the start: two would make it private to the class."""
    return "f_" + re.sub(r"\W", "_", field)


def _getter(path: str) -> Callable[[list[Any]], list[Any]]:
    """Reads one field of many records; a missing parent gives `None`."""
    parts = [_attribute(part) for part in path.split(".")]
    # Half the time of `attrgetter`: Python learns where the objects of one class have the field.
    whole = eval(f"lambda records: [each.{'.'.join(parts)} for each in records]")  # noqa: S307

    def get(records: list[Any]) -> list[Any]:
        try:
            return cast(list[Any], whole(records))
        except AttributeError:  # a parent is missing
            found = records
            for part in parts:
                found = [None if owner is None else getattr(owner, part) for owner in found]
            return found

    return get


def _array(column: Column, values: list[Any]) -> pa.Array:
    """A column; without a version, the empty one."""
    if column.type == "json":
        return arrow.json_text(values)
    array = arrow.array(values, arrow.TYPES[column.type])
    return array.fill_null("") if column.name == "change_version" else array
