"""Documentation of the catalogue, as Markdown.

`python -m protime_source.catalogue` prints all collections and all sensitive columns;
`python -m protime_source.catalogue docs` rewrites what is generated in the pages of that folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.markdown import section, table
from protime_source.catalogue.pages import Generated, rewrite_pages


def collections_table() -> str:
    """Returns all collections as a Markdown table, one line each."""
    return table(
        ("collection", "table", "scope", "loaded by", "date filter"),
        (
            (
                each.name,
                f"[`{each.table}`](data-model.md#{each.table})",
                " or ".join(f"`{_short(scope)}`" for scope in each.read_scopes),
                "delta" if each.has_delta else "snapshot",
                f"`{each.date_column}`" if each.date_column else "",
            )
            for each in COLLECTIONS.values()
        ),
    )


def sensitive_columns_table() -> str:
    """Returns the sensitive columns of each collection that has some as a Markdown table."""
    sensitive = {
        each.table: [f"`{each.table}.{c.name}`" for c in each.columns if c.sensitive]
        for each in COLLECTIONS.values()
    }
    return table(
        ("table", "sensitive columns"),
        ((f"`{name}`", ", ".join(columns)) for name, columns in sensitive.items() if columns),
    )


def data_model() -> str:
    """Returns a Markdown section for each collection: its columns, and those of its views."""
    return "\n".join(section(each, COLLECTIONS) for each in COLLECTIONS.values())


def _short(scope: str) -> str:
    return scope.removeprefix("connector-protimeapi-")


GENERATED: Generated = {
    "collections": collections_table,
    "sensitive columns": sensitive_columns_table,
    "data model": data_model,
}
"""The generated parts by the name in the comments that enclose them in a page."""


def main(arguments: list[str]) -> None:
    """Prints collections and sensitive columns, or rewrites the pages of a folder."""
    if not arguments:
        sys.stdout.write(f"{collections_table()}\n{sensitive_columns_table()}")
        return
    rewrite_pages(Path(arguments[0]), GENERATED)


if __name__ == "__main__":
    main(sys.argv[1:])
