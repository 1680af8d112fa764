"""What users rely on does not change by accident."""

from __future__ import annotations

from tests.public_api import FILE, public_api


def test_the_public_api_is_as_written_down() -> None:
    assert public_api() == FILE.read_text(encoding="utf-8"), (
        "What users rely on has changed. If that is meant, say so in CHANGELOG.md, then run"
        " `uv run python -m tests.public_api`."
    )
