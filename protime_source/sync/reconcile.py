"""What vanished: the rows that a complete full load no longer showed, and the guard on them."""

from __future__ import annotations

from datetime import date

from protime_source.catalogue.model import Collection
from protime_source.errors import VanishedRowsError
from protime_source.settings import Settings


def check_vanished_share(
    collection: Collection,
    settings: Settings,
    *,
    vanished: int,
    live_rows: int,
    window_start: date | None = None,
) -> None:
    """Refuses to soft-delete more rows than the settings allow.

    Args:
        collection: The collection that was loaded fully.
        settings: They hold `max_vanished_share`.
        vanished: Live rows that the complete full load did not show.
        live_rows: Live rows before it.
        window_start: First day of the window, if the collection has one.

    Raises:
        VanishedRowsError: When the share is larger.
    """
    allowed, live_rows = settings.max_vanished_share, max(live_rows, vanished)
    if vanished > allowed * live_rows:
        window = f" from {window_start} on" if window_start else ""
        raise VanishedRowsError(
            f"{collection.table}: a complete full load{window} no longer showed {vanished} of"
            f" {live_rows} live rows ({_percent(vanished / live_rows)}), more than"
            f" max_vanished_share allows ({_percent(allowed)}). No row was soft-deleted. If they"
            " are really gone, run once with SOURCES__PROTIME__MAX_VANISHED_SHARE=1.0; if not, ask"
            " Protime whether this client may still see everybody.",
            collection.table,
        )


def _percent(share: float) -> str:
    return f"{round(100 * share, 2):g}%"
