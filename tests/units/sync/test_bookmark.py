"""What a bookmark is valid for."""

from __future__ import annotations

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
