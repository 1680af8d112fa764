"""What a collection is: its name, scope, columns and filters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal
from urllib.parse import quote

API_PATH = "/connector/protimeapi/api/v1"

NOT_NULL = ("id", "change_version")
"""Columns of Protime's that every row has."""

ColumnType = Literal["bigint", "text", "bool", "date", "double", "json"]

REFERENCE = re.compile(r"\(([a-z-]+),(@?[\w-]+)\)")
"""One external reference in a request: its collection and its name."""

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Column:
    """A column, and the field in Protime's records that fills it.

    Attributes:
        name: The column's name in the warehouse.
        path: The field in the JSON record, with dots between levels: `person.id`.
        type: dlt's data type; `json` keeps an array or object as Protime sent it.
        description: One line, which becomes the column's comment where the destination has them.
        sensitive: Personal data that is loaded only when a setting names the column.
        refers: The collection whose id the column holds, by Protime's name.
        alias: Another path that older documentation gives the field.
    """

    name: str
    path: str
    type: ColumnType
    description: str
    sensitive: bool = False
    refers: str = ""
    alias: str = ""


def column(
    path: str, type_: ColumnType, description: str, *, name: str = "", **more: Any
) -> Column:
    """A column named after its field, in snake case, unless a name is given."""
    return Column(name or column_name(path), path, type_, description, **more)


def column_name(path: str) -> str:
    """The snake-case name of a field: `person.id` is `person_id`."""
    return re.sub(r"\W+", "_", _WORD_BOUNDARY.sub("_", path)).lower()


@dataclass(frozen=True)
class ArrayView:
    """A view with one row for each entry of an array column.

    Attributes:
        column: The array column that the view unfolds.
        key: The view's name for the table's `id`.
        columns: The view's other columns, with their paths in the entry; empty for the entry
            itself.
    """

    column: str
    key: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Collection:
    """One collection of the API.

    Attributes:
        name: Protime's name, kebab-case, as in paths and scopes.
        columns: The fields to load; `id` and `change_version` are always among them.
        documentation: The page of Protime's documentation that lists the fields.
        date_column: The date that the delta's date filter applies to; empty without a filter.
        has_delta: Whether the collection offers a delta; without one, each run reads all of it.
        scopes: Collections whose `.read` scope opens this one, the likeliest first; its own when
            empty.
        views: The views over its array columns.
        references: Collections whose external references its delta can add.
        deleted_status: The `status` of a record that is deleted but still shown.
        has_version: Whether every record carries a `changeVersion`.
        path_template: The path below the API's root when it is not the name, with parameters in
            braces.
        excluded: The documented fields that are not loaded.
        requested: The external references to ask for, in Protime's notation.
        path_parameters: The values for `path_template`; the list is read once for each.
    """

    name: str
    columns: tuple[Column, ...]
    documentation: str = ""
    date_column: str = ""
    has_delta: bool = True
    scopes: tuple[str, ...] = ()
    views: tuple[ArrayView, ...] = ()
    references: tuple[str, ...] = ()
    deleted_status: str = ""
    has_version: bool = True
    path_template: str = ""
    excluded: tuple[Column, ...] = ()
    requested: str = ""
    path_parameters: tuple[Mapping[str, Any], ...] = ({},)

    @property
    def table(self) -> str:
        """Name of the table in the warehouse."""
        return self.name.replace("-", "_")

    @property
    def path(self) -> str:
        """Path of the list on the API host, with the parameters of `path_template` in braces."""
        return f"{API_PATH}/{self.path_template or self.name}"

    @property
    def needs_structure(self) -> bool:
        """Whether its path has parameters that only the setting `activity_structures` gives."""
        return "{" in self.path_template

    @property
    def id_type(self) -> ColumnType:
        """Type of the ids: `bigint`, or `text` for GUIDs."""
        return next(column.type for column in self.columns if column.name == "id")

    @property
    def read_scopes(self) -> tuple[str, ...]:
        """The scopes any one of which opens list, get and delta (concepts/oauth2-scope-model)."""
        return tuple(f"connector-protimeapi-{name}.read" for name in self.scopes or (self.name,))

    @property
    def read_scope(self) -> str:
        """The likeliest of the read scopes."""
        return self.read_scopes[0]

    @property
    def write_scope(self) -> str:
        """The scope that create, update and delete need."""
        return f"connector-protimeapi-{self.name}.write"

    @property
    def column_selection(self) -> str:
        """What the settings changed about the columns; a change of it needs a full load."""
        sensitive = [column.name for column in self.columns if column.sensitive]
        return " ".join([*sensitive, self.requested]).strip()

    @property
    def description(self) -> str:
        """One line, which becomes the table's comment where the destination has them."""
        return f"Protime's {self.name}, as documented at {self.documentation}"

    def view_name(self, view: ArrayView) -> str:
        """Name of a view in the warehouse."""
        return f"{self.table}__{view.column}"

    def view_description(self, view: ArrayView) -> str:
        """One line, which becomes the view's comment where the destination has them."""
        return f"One row per entry of {self.table}.{view.column}."

    def view_columns(self, view: ArrayView) -> tuple[Column, ...]:
        """All columns of a view, the key first."""
        text = f"The id in {self.table}."
        key = Column(view.key, "id", self.id_type, text, refers=self.name)
        return (key, *view.columns)

    def delta_start(self, start: date | None) -> str:
        """The link that starts a delta (documentation: how-to/track-changes-with-delta).

        The filter has no end date: the window stays open into the future.
        """
        parameters = ["delta"]
        if start:
            parameters.insert(0, "filter=" + quote(f"date ge '{start.isoformat()}'"))
        if self.requested:
            parameters.append("externalReferences=" + quote(self.requested, safe="(),@"))
        return f"{self.path}?{'&'.join(parameters)}"

    def without_sensitive(self, wanted: frozenset[str]) -> Collection:
        """This collection without its sensitive columns, except the wanted ones."""
        excluded = tuple(c for c in self.columns if c.sensitive and c.name not in wanted)
        kept = tuple(c for c in self.columns if c not in excluded)
        return replace(self, columns=kept, excluded=excluded)

    def with_references(self, requested: str) -> Collection:
        """This collection with external references (documentation: reference/external-references).

        Args:
            requested: In Protime's notation, `(people,@badge-number)(terminals,@external-code)`.
        """
        pairs = REFERENCE.findall(requested)
        added = (column for pair in pairs for column in self._reference_columns(*pair))
        return replace(self, columns=(*self.columns, *added), requested=requested)

    def _reference_columns(self, collection: str, reference: str) -> Iterator[Column]:
        """A column beside each id of the collection, and one for the record's own reference."""
        parents = [c.path.rpartition(".")[0] for c in self.columns if c.refers == collection]
        own = [""] if collection == self.name else []
        for parent in [*parents, *own]:
            path = f"{parent}.externalReferences.{reference}".lstrip(".")
            name = column_name(f"{parent or 'external'}.{reference}")
            text = f"External reference {reference} of {collection}."
            yield Column(name, path, "text", text)
