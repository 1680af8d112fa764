"""The data dictionary: what each table, view and column means, as one page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from protime_source.catalogue.markdown import section, table
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.settings import Settings, __version__
from protime_source.warehouse import history, ledger, receipts


def data_dictionary(settings: Settings) -> str:
    """Returns the page: the collections that are set, and what is in every warehouse.

    Args:
        settings: Those of a run; tenant and credentials may be missing.
    """
    return "\n".join(_parts(settings))


def _parts(settings: Settings) -> Iterator[str]:
    yield f"# Data dictionary\n\nBy dlt-source-protime {__version__}, from its settings.\n"
    yield "## Tables\n\nEvery table ends with the sync columns, which are described once below.\n"
    for name in settings.collections:
        yield section(settings.collection(name), settings.collections)
    yield "## Sync columns\n\nThe live rows are `WHERE NOT is_deleted`.\n"
    yield _table(
        (name, column["data_type"] + ("" if column["nullable"] else ", not null"), text)
        for name, column in SYNC_COLUMNS.items()
        for text in [column["description"]]
    )
    if settings.history:
        yield (
            "## History\n\n`<table>__history` has every version of each row: the columns of the"
            " table, and these. The view `<table>__versions` has their periods too.\n"
        )
        yield _table(
            (name, "text" if name == "change_type" else "timestamp", text)
            for name, text in (history.OWN_COLUMNS | history.PERIOD_COLUMNS).items()
        )
    yield f"## Ledger\n\n`{ledger.TABLE}` has one row per run and collection.\n"
    yield _table((name, kind, text) for name, (kind, text) in ledger.COLUMNS.items())
    yield f"## Receipts\n\n`{receipts.TABLE}` has one row per change that a push was to send.\n"
    yield _table((name, kind, text) for name, (kind, text) in receipts.COLUMNS.items())


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    cells = ((f"`{name}`", kind, text) for name, kind, text in rows)
    return table(("column", "type", "meaning"), cells)
