"""JSON records of a collection, decoded whole, whatever is in them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from protime_source.catalogue.model import Collection, Column
from protime_source.decode.fast import FastDecoder
from protime_source.decode.soft_delete import NOT_NULL, SYNC_COLUMNS, Row
from protime_source.decode.values import JsonText, coerce, fits_bigint, mended, stand_in_id
from protime_source.errors import ProtocolError

logger = logging.getLogger(__name__)

WARNINGS_PER_COLUMN = 20
"""A mistake that all records share is not told for each of them."""

_UNREADABLE = (msgspec.DecodeError, RecursionError)

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class RecordDecoder:
    """Decodes records and events of one collection.

    An answer with anything in it that is not documented (a field that the API added, a value of
    another type) is decoded here, field by field, so that nothing is dropped in silence.

    Args:
        collection: Whose records.
        normalize: dlt's naming convention, for the names of undocumented fields.
        holds_nul: Whether the warehouse's text can hold U+0000.

    Attributes:
        typed: The fast way.
    """

    def __init__(
        self,
        collection: Collection,
        normalize: Callable[[str], str],
        *,
        holds_nul: bool = True,
    ) -> None:
        self.fast = FastDecoder(collection)
        self._collection = collection
        self.refused_records = 0
        self._normalize = normalize
        self._holds_nul = holds_nul
        self._paths = {column.path for column in collection.columns}
        self._parents = {path.rpartition(".")[0] for path in self._paths}
        self._hidden = {column.path.lower() for column in collection.excluded}
        self._taken = {column.name for column in collection.columns} | SYNC_COLUMNS.keys()
        self._events = msgspec.json.Decoder(list[_Event] | None)
        self._told: Counter[tuple[str, str]] = Counter()

    def rows(self, records: msgspec.Raw) -> list[Row]:
        """Decodes a page record by record, with every field.

        Raises:
            ProtocolError: When a record has no usable id or changeVersion.
        """
        try:
            decoded = msgspec.json.decode(records, type=list[msgspec.Raw] | None) or []
        except _UNREADABLE as error:
            raise self._unreadable() from error
        return [self._row(record) for record in decoded]

    def events(self, records: msgspec.Raw) -> list[tuple[str, Row]]:
        """Decodes the events of a delta answer: change type and row, nulls left out.

        Raises:
            ProtocolError: When an event has no usable id or changeVersion.
        """
        try:
            decoded = self._events.decode(records) or []
        except _UNREADABLE as error:
            raise ProtocolError(f"A delta event is not as documented: {error}.") from error
        return [(event.changeType, self._row(event.data)) for event in decoded]

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
        for path, raw in fields.items():
            if self._is_hidden(path):
                continue
            name = self._undocumented_name(path, row)
            if (value := self._undocumented(self._mended(name, raw, row["id"]))) is not None:
                self._tell_undocumented(name)
                row[name] = value
        return row

    def _flatten(self, record: msgspec.Raw) -> dict[str, msgspec.Raw]:
        """Fields by path, undocumented objects opened by one level; arrays stay whole."""
        fields: dict[str, msgspec.Raw] = {}
        waiting = list(self._decode_object(record).items())
        while waiting:
            path, raw = waiting.pop()
            if self._is_opened(path) and bytes(raw).startswith(b"{"):
                inner = self._decode_object(raw)
                waiting += [(f"{path}.{leaf}", value) for leaf, value in inner.items()]
            else:
                fields[path] = raw
        return dict(reversed(fields.items()))

    def _is_opened(self, path: str) -> bool:
        return path in self._parents or ("." not in path and path not in self._paths)

    def _is_hidden(self, path: str) -> bool:
        """Whether it is a sensitive field, or one of its parents in another shape.

        Whatever its spelling: the documentation is not steady there (`countryIsoCode`).
        """
        path = path.lower()
        return any(
            hidden == path or hidden.startswith(f"{path}.") or path.startswith(f"{hidden}.")
            for hidden in self._hidden
        )

    def _decode_object(self, raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
        try:
            return _raw_fields(raw)
        except _UNREADABLE as error:
            raise self._unreadable() from error

    def _undocumented(self, raw: bytes) -> Any:
        """A value of a field we do not know: scalars as they are, the rest as JSON text."""
        if raw.startswith((b"{", b"[")):
            return JsonText(raw.decode())
        value = self._decode_scalar(raw)
        return str(value) if isinstance(value, int) and not fits_bigint(value) else value

    def _decode_scalar(self, raw: bytes) -> Any:
        """The value; a number that no computer holds, as its text."""
        try:
            return msgspec.json.decode(raw)
        except msgspec.ValidationError:
            return raw.decode()
        except _UNREADABLE as error:
            raise self._unreadable() from error

    def _unreadable(self) -> ProtocolError:
        return ProtocolError(
            f"A record of {self._collection.name} cannot be read: it is no JSON object, holds text"
            " that is not Unicode, or is nested too deeply. Nothing of this run was loaded."
        )

    def _value(self, column: Column, raw: msgspec.Raw, id_: int | None) -> Any:
        text = self._mended(column.name, raw, id_)
        value = self._decode_scalar(text)
        try:
            return None if value is None else coerce(column.type, value, text)
        except (ValueError, TypeError, OverflowError):
            if column.name == "id" and type(value) is int:
                return self._stand_in(value)
            self._tell(column.name, f"has a value that is no {column.type}: loaded as empty", id_)
            return None

    def _stand_in(self, id_: int) -> int:
        replaced = stand_in_id(id_)
        self._tell("id", "has more than 64 bits: loaded under this id instead", replaced)
        return replaced

    def _mended(self, column: str, raw: msgspec.Raw, id_: int | None) -> bytes:
        """The JSON text, with what the warehouse cannot hold replaced."""
        text = bytes(raw)
        usable = mended(text, holds_nul=self._holds_nul)
        if usable != text:
            self._tell(column, "has a character that the warehouse cannot hold: now U+FFFD", id_)
        return usable

    def _undocumented_name(self, path: str, row: Row) -> str:
        """A column of its own, also for a field whose name is taken by another."""
        name = self._normalize(path.replace(".", "_").strip() or "unnamed")
        while name in self._taken or name in row:
            name = f"protime_{name}"
        return name

    def _tell_undocumented(self, column: str) -> None:
        """Warns once per column."""
        message = "is a field that Protime's documentation does not have: loaded as it came"
        if not self._told[column, message]:
            self._told[column, message] += 1
            logger.warning("%s.%s %s", self._collection.table, column, message)

    def _tell(self, column: str, message: str, id_: int | None) -> None:
        """Warns of a value that was changed; never names it, since it may be personal."""
        self._told[column, message] += 1
        if (times := self._told[column, message]) <= WARNINGS_PER_COLUMN:
            more = " (more of these are not told)" if times == WARNINGS_PER_COLUMN else ""
            table = self._collection.table
            logger.warning("%s.%s of id %s %s%s", table, column, id_, message, more)


class _Event(msgspec.Struct, gc=False):
    """One event (documentation: reference/delta). Unknown change types count as updates."""

    changeType: str  # noqa: N815  # Protime's spelling
    data: msgspec.Raw
