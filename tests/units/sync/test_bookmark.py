"""What a bookmark is valid for, and what it remembers."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from protime_source.sync.bookmark import Bookmark, BookmarkScope

SCOPE = BookmarkScope("warehouse", "2025-01-01", "comments")


def changes(present: BookmarkScope, *, start_is_default: bool) -> tuple[str, ...]:
    bookmark = Bookmark(SCOPE, "link", False, "", 0, "")
    return bookmark.scope_changes(present, start_is_default=start_is_default)


def scope(**fields: str) -> BookmarkScope:
    known = {"warehouse": "warehouse", "start_date": "2025-01-01", "column_selection": "comments"}
    return BookmarkScope(**{**known, **fields})


@pytest.mark.parametrize("start_is_default", [True, False])
def test_what_differs_is_named(start_is_default: bool) -> None:
    assert changes(SCOPE, start_is_default=start_is_default) == ()
    for name, words in (
        ("warehouse", "destination"),
        ("column_selection", "set of sensitive columns or external references"),
    ):
        present = scope(**{name: "other"})
        assert changes(present, start_is_default=start_is_default) == (words,)


@pytest.mark.parametrize(
    ("start", "start_is_default", "expected"),
    [
        ("2026-01-01", True, ()),
        ("2026-01-01", False, ("start_date",)),
        ("2024-01-01", True, ("start_date",)),
        ("2024-01-01", False, ("start_date",)),
    ],
)
def test_a_window_stays_when_the_default_moves_on_at_new_year(
    start: str, start_is_default: bool, expected: tuple[str, ...]
) -> None:
    assert changes(scope(start_date=start), start_is_default=start_is_default) == expected


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FULL = Bookmark(
    SCOPE,
    link="/page",
    full_load_in_progress=True,
    full_load_started_at=NOON.isoformat(),
    live_rows_at_start=7,
    link_requested_at=NOON.isoformat(),
    compares_values=True,
    shows_undated=True,
    seen_ids="where",
    last_synced_at=(NOON + timedelta(hours=1)).isoformat(),
    has_rows=True,
    live_rows=9,
)


def test_all_of_a_bookmark_is_in_the_state_as_json_has_it() -> None:
    state: dict[str, Any] = {"tenant": "acme"}
    FULL.write(state)
    assert Bookmark.read(state) == FULL
    assert state["tenant"] == "acme"
    assert state["bookmark"].keys() == {field.name for field in fields(FULL)}


def test_what_an_older_version_did_not_write_has_its_default() -> None:
    state: dict[str, Any] = {}
    FULL.write(state)
    later = ("compares_values", "shows_undated", "seen_ids", "last_synced_at", "has_rows")
    for name in (*later, "live_rows"):
        del state["bookmark"][name]
    assert Bookmark.read(state) == replace(
        FULL,
        compares_values=False,
        shows_undated=False,
        seen_ids="",
        last_synced_at="",
        has_rows=False,
        live_rows=None,
    )


@pytest.mark.parametrize(
    "stored", [None, {"link": "/page"}, {"unknown": 1, "scope": {}}, {"scope": {"unknown": 1}}]
)
def test_a_bookmark_of_another_version_is_none(stored: Any) -> None:
    assert Bookmark.read({} if stored is None else {"bookmark": stored}) is None


def test_its_times_are_read_again() -> None:
    assert (FULL.full_load_start, FULL.link_requested) == (NOON, NOON)
    assert FULL.last_synced == NOON + timedelta(hours=1)
    assert replace(FULL, last_synced_at="").last_synced is None
    assert FULL.expires == NOON + timedelta(hours=72)
    assert FULL.window_start == date(2025, 1, 1)
    assert replace(FULL, scope=scope(start_date="")).window_start is None


def test_it_moves_on_with_the_link_and_with_what_was_synced() -> None:
    later = NOON + timedelta(days=1)
    advanced = FULL.advanced("/delta", full_load_in_progress=False, requested_at=later)
    assert advanced == replace(
        FULL, link="/delta", full_load_in_progress=False, link_requested_at=later.isoformat()
    )
    assert FULL.synced(later) == replace(FULL, last_synced_at=later.isoformat())
    assert FULL.synced(None) is FULL


def test_a_full_load_that_is_invalidated_is_still_in_progress() -> None:
    invalidated = FULL.invalidated()
    assert (FULL.is_invalidated, invalidated.is_invalidated) == (False, True)
    assert invalidated == replace(FULL, link="")
