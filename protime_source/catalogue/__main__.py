"""Prints the table of all collections that README.md has: `python -m protime_source.catalogue`."""

from __future__ import annotations

import sys

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import Collection

_HEAD = ("collection", "table", "key", "scope", "how", "filter", "sensitive columns")


def markdown() -> str:
    """All collections as a Markdown table, a line each."""
    lines = [_HEAD, ("---",) * len(_HEAD), *map(_cells, COLLECTIONS.values())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(collection: Collection) -> tuple[str, ...]:
    scopes = " or ".join(f"`{_short(scope)}`" for scope in collection.read_scopes)
    sensitive = ", ".join(f"`{column.name}`" for column in collection.columns if column.sensitive)
    how = "delta" if collection.has_delta else "walk"
    window = f"`{collection.date_column}`" if collection.date_column else ""
    branches = "structure and level" if collection.needs_structure else window
    return (collection.name, f"`{collection.table}`", "`id`", scopes, how, branches, sensitive)


def _short(scope: str) -> str:
    return scope.removeprefix("connector-protimeapi-")


if __name__ == "__main__":
    sys.stdout.write(markdown())
