"""What a collection is: its name, scope, columns and filters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal
from urllib.parse import quote

API_PATH = "/connector/protimeapi/api/v1"

ColumnType = Literal["bigint", "text", "bool", "date", "double", "json"]

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Column:
    """A column, and the field of Protime's that fills it.

    Attributes:
        name: The column's name in the warehouse.
        path: The field in the JSON record, with dots between levels: `person.id`.
        type: dlt's data type; `json` keeps an array or object as Protime sent it.
        description: One line, which becomes the column's comment where the destination has them.
        sensitive: Personal data that is loaded only when a setting names the column.
        refers: The collection whose id it holds, by Protime's name.
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
    """A column that is called like its field, in snake case, unless it is given a name."""
    return Column(name or column_name(path), path, type_, description, **more)


def column_name(path: str) -> str:
    """`person.id` is `person_id`, `countryISOCode` is `country_iso_code`."""
    return re.sub(r"\W+", "_", _WORDS.sub("_", path)).lower()


@dataclass(frozen=True)
class ArrayView:
    """A view with one row for each entry of an array column.

    Attributes:
        column: The array column it unfolds.
        key: What the table's `id` is called in the view.
        columns: The view's columns: name, path in the entry (empty for the entry itself), type.
    """

    column: str
    key: str
    columns: tuple[tuple[str, str, ColumnType], ...]


@dataclass(frozen=True)
class Collection:
    """One collection of the API.

    Attributes:
        name: Protime's name, kebab-case, as it stands in paths and scopes.
        columns: The fields that are loaded; `id` and `change_version` are always among them.
        documentation: The page that the columns come from.
        date_column: The date that the delta's date filter looks at; empty when it has no filter.
        has_delta: Whether it offers a delta; if not, each run walks over all of it.
        scopes: Collections whose `.read` scope opens it, the likeliest first; its own when empty.
        views: The views over its array columns.
        references: Collections whose external references its delta can add.
        deleted_status: The `status` of a record that is deleted but still shown.
        has_version: Whether its records surely carry a `changeVersion`.
        path_template: Where it lies path_template the API's root, when not under its name; with columns in
            braces, whose values the settings give.
        excluded: The fields that are documented and not loaded.
        requested: The external references to ask for, as Protime writes them.
        path_parameters: The values of the braces in `path_template` to walk over.
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
        """Path of the list on the API host."""
        return f"{API_PATH}/{self.path_template or self.name}"

    @property
    def id_type(self) -> ColumnType:
        """The type of its ids: integers, but for GUIDs as text."""
        return next(column.type for column in self.columns if column.name == "id")

    @property
    def read_scopes(self) -> tuple[str, ...]:
        """Scopes of which one opens list, get and delta (concepts/oauth2-scope-model)."""
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
        """What the settings changed about its columns; a walk is needed when it changes."""
        loaded = [column.name for column in self.columns if column.sensitive]
        return " ".join([*loaded, self.requested]).strip()

    def view_name(self, view: ArrayView) -> str:
        """Name of a view in the warehouse."""
        return f"{self.table}__{view.column}"

    def delta_start(self, start: date | None) -> str:
        """The link that starts a delta (documentation: how-to/track-changes-with-delta).

        No end date: the window stays open into the future.
        """
        parameters = ["delta"]
        if start:
            parameters.insert(0, "filter=" + quote(f"date ge '{start.isoformat()}'"))
        if self.requested:
            parameters.append("externalReferences=" + quote(self.requested, safe="(),@"))
        return f"{self.path}?{'&'.join(parameters)}"

    def without_sensitive(self, wanted: frozenset[str]) -> Collection:
        """This collection without its sensitive columns, but for those that are wanted."""
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


REFERENCE = re.compile(r"\(([a-z-]+),(@?[\w-]+)\)")
"""One external reference in a request: collection and reference."""
