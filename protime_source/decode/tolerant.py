"""The tolerant decoder: any record of a collection, decoded field by field."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from protime_source.catalogue.model import NOT_NULL, Collection, Column
from protime_source.decode.fast import FastDecoder
from protime_source.decode.soft_delete import SYNC_COLUMNS, Row
from protime_source.decode.tables import OTHER_FIELDS
from protime_source.decode.values import (
    JsonText,
    coerce,
    fits_bigint,
    is_whole_number,
    replace_unsupported,
)
from protime_source.errors import ProtocolError

logger = logging.getLogger(__name__)

WARNINGS_PER_COLUMN = 20
"""Warnings of one kind per column, because all records may share a mistake; and warnings of new
columns, because there may be thousands."""

_UNREADABLE = (msgspec.DecodeError, RecursionError)

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _IdTooLargeError(Exception):
    """The id of a record does not fit into 64 bits."""


class _Event(msgspec.Struct, gc=False):
    """One event (documentation: reference/delta)."""

    changeType: str  # noqa: N815  # Protime's spelling
    data: msgspec.Raw


class RecordDecoder:
    """Decodes records and events of one collection, documented or not.

    The fast decoder refuses pages with an undocumented field or a value of another type. This one
    decodes them, so that no field is dropped in silence.

    Args:
        collection: The collection that the records belong to.
        normalize: dlt's naming convention, for the columns of undocumented fields.
        holds_nul: Whether the warehouse's text can hold U+0000.
        fields: The undocumented fields that columns of the warehouse hold, by column.
        reserved: Names that no column of an undocumented field gets.

    Attributes:
        fast: The decoder of documented records.
        fields: As given, with those that were met since.
        refused_records: How many records and events were left out, because their id does not fit
            into 64 bits.
    """

    def __init__(
        self,
        collection: Collection,
        normalize: Callable[[str], str],
        *,
        holds_nul: bool = True,
        fields: Mapping[str, str] | None = None,
        reserved: Iterable[str] = (),
    ) -> None:
        self.fast = FastDecoder(collection)
        self.refused_records = 0
        self._collection = collection
        self._normalize = normalize
        self._holds_nul = holds_nul
        self._paths = {column.path for column in collection.columns}
        self._parents = {path.rpartition(".")[0] for path in self._paths}
        self._excluded = {column.path.lower() for column in collection.excluded}
        documented = (*collection.columns, *collection.excluded)
        self._reserved = {column.name for column in documented} | SYNC_COLUMNS.keys()
        self._reserved |= {OTHER_FIELDS, *reserved}
        self.fields = dict(fields or {})
        self._columns = {path: name for name, path in self.fields.items()}
        self._decode_events = msgspec.json.Decoder(list[_Event] | None).decode
        self._warned: Counter[tuple[str, str]] = Counter()

    def rows(self, raw: msgspec.Raw) -> list[Row]:
        """Returns the rows of a JSON array of records, without records whose id is too large.

        Raises:
            ProtocolError: If a record has no usable id or changeVersion.
        """
        try:
            records = msgspec.json.decode(raw, type=list[msgspec.Raw] | None) or []
        except _UNREADABLE as error:
            raise self._unreadable() from error
        rows = (self._row_or_none(record) for record in records)
        return [row for row in rows if row is not None]

    def events(self, raw: msgspec.Raw) -> list[tuple[str, Row]]:
        """Returns change type and row of each event in a JSON array, without ids too large.

        Raises:
            ProtocolError: If an event has no usable id or changeVersion.
        """
        try:
            events = self._decode_events(raw) or []
        except _UNREADABLE as error:
            raise ProtocolError(f"A delta event is not as documented: {error}.") from error
        rows = ((event.changeType, self._row_or_none(event.data)) for event in events)
        return [(change_type, row) for change_type, row in rows if row is not None]

    def _row_or_none(self, record: msgspec.Raw) -> Row | None:
        """Returns the row of a record; None, with a warning, if its id does not fit."""
        try:
            return self._row(record)
        except _IdTooLargeError:
            self.refused_records += 1
            self._warn(
                "id",
                f"{self._collection.table}: a record was left out, because its id does not fit into"
                " 64 bits. The warehouse has no row for it. Ask Protime why its id is so large.",
            )
            return None

    def _row(self, record: msgspec.Raw) -> Row:
        fields = self._flatten(record)
        row: Row = {}
        for column in self._collection.columns:
            raw = fields.pop(column.path, None)
            if raw is None and column.alias:
                raw = fields.pop(column.alias, None)
            if raw is not None:
                row[column.name] = self._value(column, raw, row.get("id"))
        if not self._collection.has_version:
            row["change_version"] = row.get("change_version") or ""
        for key in NOT_NULL:
            if row.get(key) is None:
                raise ProtocolError(f"A record of {self._collection.name} has no usable {key}.")
        # Sorted, so that no order of fields decides which of two gets the name of both.
        for path, raw in sorted(fields.items()):
            if bytes(raw) == b"null" or self._is_excluded(path):
                continue
            name = self._undocumented_name(path)
            text = self._supported(name, raw, row["id"])
            self._warn_undocumented(name)
            row[name] = self._undocumented_value(text)
        return row

    def _flatten(self, record: msgspec.Raw) -> dict[str, msgspec.Raw]:
        """Returns fields by path; undocumented objects are opened by one level, arrays never."""
        fields: dict[str, msgspec.Raw] = {}
        remaining = list(self._object(record).items())
        while remaining:
            path, raw = remaining.pop()
            if self._is_opened(path) and bytes(raw).startswith(b"{"):
                inner = self._object(raw)
                remaining += [(f"{path}.{leaf}", value) for leaf, value in inner.items()]
            else:
                fields[path] = raw
        return fields

    def _is_opened(self, path: str) -> bool:
        return path in self._parents or ("." not in path and path not in self._paths)

    def _is_excluded(self, path: str) -> bool:
        """Whether the path is an excluded field, or one of its parents or children.

        Upper and lower case count as equal, because Protime's documentation varies there
        (`countryIsoCode`).
        """
        path = path.lower()
        return any(
            excluded == path or excluded.startswith(f"{path}.") or path.startswith(f"{excluded}.")
            for excluded in self._excluded
        )

    def _object(self, raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
        try:
            return _raw_fields(raw)
        except _UNREADABLE as error:
            raise self._unreadable() from error

    def _scalar(self, text: bytes) -> Any:
        """Returns the value; its text if it is a number that Python does not decode."""
        try:
            return msgspec.json.decode(text)
        except msgspec.ValidationError:
            return text.decode()
        except _UNREADABLE as error:
            raise self._unreadable() from error

    def _unreadable(self) -> ProtocolError:
        return ProtocolError(
            f"A record of {self._collection.name} cannot be read: it is no JSON object, holds text"
            " that is not Unicode, or is nested too deeply. Nothing of this run was loaded."
        )

    def _value(self, column: Column, raw: msgspec.Raw, id_: int | None) -> Any:
        """Returns the value of a documented field; None, with a warning, if it does not fit."""
        text = self._supported(column.name, raw, id_)
        value = self._scalar(text)
        try:
            return None if value is None else coerce(column.type, value, text)
        except (ValueError, TypeError, OverflowError):
            if column.name == "id" and is_whole_number(text):
                raise _IdTooLargeError from None
            self._warn_value(
                column.name, id_, f"has a value that is no {column.type}: loaded as empty"
            )
            return None

    def _undocumented_value(self, text: bytes) -> Any:
        """Returns the value of an undocumented field; objects and arrays as JSON text."""
        if text.startswith((b"{", b"[")):
            return JsonText(text.decode())
        value = self._scalar(text)
        return str(value) if isinstance(value, int) and not fits_bigint(value) else value

    def _supported(self, column: str, raw: msgspec.Raw, id_: int | None) -> bytes:
        """Returns the JSON text without characters that the warehouse cannot hold."""
        text = bytes(raw)
        supported = replace_unsupported(text, holds_nul=self._holds_nul)
        if supported != text:
            self._warn_value(
                column, id_, "has a character that the warehouse cannot hold: now U+FFFD"
            )
        return supported

    def _undocumented_name(self, path: str) -> str:
        """Returns the column of a field, which no other field has, and which it keeps."""
        if (name := self._columns.get(path)) is None:
            name = self._normalize(path.replace(".", "_").strip() or "unnamed")
            while name in self.fields or name in self._reserved or name.startswith("_dlt"):
                name = self._normalize(f"protime_{name}")
            self._columns[path], self.fields[name] = name, path
        return name

    def _warn_undocumented(self, column: str) -> None:
        """Warns once per column, of the first columns."""
        problem = "is a field that Protime's documentation does not have: loaded as it came"
        if not self._warned[column, problem]:
            self._warned[column, problem] += 1
            self._warn("", f"{self._collection.table}.{column} {problem}", problem)

    def _warn_value(self, column: str, id_: int | None, problem: str) -> None:
        """Warns of a changed value without showing it, because it may be personal data."""
        self._warn(column, f"{self._collection.table}.{column} of id {id_} {problem}", problem)

    def _warn(self, column: str, message: str, problem: str = "") -> None:
        """Warns up to `WARNINGS_PER_COLUMN` times of one problem of a column."""
        self._warned[column, problem] += 1
        if (times := self._warned[column, problem]) <= WARNINGS_PER_COLUMN:
            is_last = times == WARNINGS_PER_COLUMN
            logger.warning("%s%s", message, " (no more warnings of this kind)" if is_last else "")
