"""The guard against a walk that shows far less than it should."""

from __future__ import annotations

from datetime import date

from protime_source.catalogue.model import Collection
from protime_source.errors import VanishedRowsError
from protime_source.settings import Settings


def check_share(
    collection: Collection, settings: Settings, gone: int, live: int, start: date | None = None
) -> None:
    """Refuses to mark more rows than the settings allow.

    Args:
        collection: What was walked over.
        settings: They hold `max_vanished_share`.
        gone: Live rows that the complete walk did not show.
        live: Live rows before it.
        start: First day of the walk's window, if it had one.

    Raises:
        VanishedRowsError: When the share is larger.
    """
    allowed, live = settings.max_vanished_share, max(live, gone)
    if gone > allowed * live:
        window = f" from {start} on" if start else ""
        raise VanishedRowsError(
            f"{collection.table}: a complete walk{window} no longer showed {gone} of {live} live"
            f" rows ({_percent(gone / live)}), more than max_vanished_share allows"
            f" ({_percent(allowed)})."
            " No row was marked. If they are really gone, run once with"
            " SOURCES__PROTIME__MAX_VANISHED_SHARE=1.0; if not, ask Protime whether this client"
            " may still see everybody.",
            collection.table,
        )


def _percent(share: float) -> str:
    return f"{round(100 * share, 2):g}%"
