"""Documentation of the models, as Markdown.

`python -m protime_source.models docs` rewrites what is generated in the pages of that folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.markdown import table
from protime_source.catalogue.pages import Generated, rewrite_pages
from protime_source.models import MODELS
from protime_source.models.model import Model, ModelColumn
from protime_source.models.views import missing_tables


def models_table() -> str:
    """Returns all models as a Markdown table, one line each."""
    return table(
        ("model", "a row", "needs the tables", "better with"),
        (
            (
                f"[`{each.name}`](#{each.name})",
                each.grain.removeprefix("One row per ").removesuffix("."),
                _names(name for name in missing_tables(each, set()) if "__activity" not in name),
                _names(_used(each)),
            )
            for each in MODELS.values()
        ),
    )


def models() -> str:
    """Returns a Markdown section for each model."""
    return "\n".join(map(_section, MODELS.values()))


def _section(model: Model) -> str:
    return "\n".join(
        [
            f"### {model.name}",
            "",
            f"{model.grain} {_sources(model)}",
            "",
            table(("column", "type", "meaning"), map(_cells, model.columns)),
            *(f"- {sentence}" for sentence in model.assumptions),
            "",
            f"{model.question}",
            "",
            f"```sql\n{model.example.strip()}\n```",
            "",
        ]
    )


def _sources(model: Model) -> str:
    better = _names(dict.fromkeys(model.uses))
    more = f", and {better} where loaded" if better else ""
    return f"It reads {_names(model.needs)}{more}."


def _cells(column: ModelColumn) -> tuple[str, ...]:
    refers = column.refers
    link = f" Refers to [`{refers}.id`](data-model.md#{refers})." if refers in COLLECTIONS else ""
    return f"`{column.name}`", column.type, f"{column.description}{link}"


def _used(model: Model) -> Iterator[str]:
    """The tables without which a column of the model, or a part of its meaning, is empty."""
    for name in model.uses:
        yield from missing_tables(MODELS[name], set()) if name in MODELS else (name,)
    said = " ".join(column.description for column in model.columns)
    yield from (name for name in COLLECTIONS if f"unless {name} is loaded" in said)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


GENERATED: Generated = {"models table": models_table, "models": models}
"""The generated parts by the name in the comments that enclose them in a page."""


if __name__ == "__main__":
    rewrite_pages(Path(sys.argv[1]), GENERATED)
