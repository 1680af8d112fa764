"""Collections as Markdown: the docs and the data dictionary are made of it."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterable

from protime_source.catalogue.model import NOT_NULL, ArrayView, Collection, Column

_TITLES = ("column", "type", "meaning", "refers to")


def section(collection: Collection, table_names: Names[str]) -> str:
    """Returns a section about a collection: its columns, and those of its views.

    Args:
        collection: The collection, with the columns to tell of.
        table_names: The tables that have a section in the same page.
    """
    lines = [
        f"### {collection.table}",
        "",
        f"Protime's [{collection.name}]({collection.documentation}).",
        "",
        table(_TITLES, (_cells(column, table_names) for column in collection.columns)),
    ]
    lines += [_view_section(collection, view, table_names) for view in collection.views]
    return "\n".join(lines)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table."""
    titles = tuple(head)
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(column: Column, table_names: Names[str]) -> tuple[str, ...]:
    is_required = column.name in NOT_NULL
    sensitive = " *Sensitive.*" if column.sensitive else ""
    return (
        f"`{column.name}`",
        f"{column.type}, not null" if is_required else column.type,
        f"{column.description}{sensitive}",
        _reference(column.refers, table_names),
    )


def _view_section(collection: Collection, view: ArrayView, table_names: Names[str]) -> str:
    rows = (
        (f"`{each.name}`", each.type, each.description, _reference(each.refers, table_names))
        for each in collection.view_columns(view)
    )
    intro = f"The view `{collection.view_name(view)}` has one row per entry of `{view.column}`:"
    return f"{intro}\n\n{table(_TITLES, rows)}"


def _reference(name: str, table_names: Names[str]) -> str:
    """Returns the key that a column refers to; Protime has collections that are not loaded."""
    referred = name.replace("-", "_")
    return f"[`{referred}.id`](#{referred})" if referred in table_names else name
