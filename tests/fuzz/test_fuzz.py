"""What was found by fuzzing stays mended, and a little of each target is tried in each test run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.files import OF_FILES, WHOLE_BOOKMARK
from tests.fuzz.targets import TARGETS

ALL = TARGETS | OF_FILES
EXAMPLES = 15

FOUND: tuple[tuple[str, Any], ...] = (
    ("answers", (201, {"Location": "/x/" + "9" * 5000}, b"")),
    ("answers", (400, {}, b'{"error":{"message":"%s"}}' % (b"no " * 10_000))),
    ("answers", (400, {}, b'{"error":{"reasons":[%s1]}}' % (b'"no",' * 10_000))),
    ("tokens", (400, b'{"error":"%s"}' % (b"x" * 10_000))),
    ("links", "\rhttp:"),
    ("links", "http://evil.example/" + "x" * 10_000),
    ("redaction", ["//a:" * 20_000]),
    ("settings", {"external_references": {"\r": None}}),
    ("settings", {"tenant": "a" * 10_000 + "."}),
    ("environment", {"client_secret": "\udc80"}),
    ("environment", {"environment": "\udc80"}),
    ("bookmarks", {**WHOLE_BOOKMARK, "link": None}),
    ("bookmarks", {**WHOLE_BOOKMARK, "link_requested_at": ""}),
    ("bookmarks", {**WHOLE_BOOKMARK, "link_requested_at": "9999-12-31T00:00:00+00:00"}),
    ("bookmarks", {**WHOLE_BOOKMARK, "full_load_started_at": "2026-01-05T00:00:00"}),
    ("states", None),
    ("states", {"resources": {"assignments": "0"}}),
    ("states", {"resources": {"assignments": {"protime_staged": None}}}),
    ("folders", {"state.json": b'{"_state_engine_version":4,"schema_names":true}'}),
    ("folders", {"state.json": b'{"_state_engine_version":4,"schema_names":[[1]]}'}),
    ("folders", {"state.json": b"[" * 100_000}),
    ("webhook memory", b'{"path":""}'),
    ("webhook memory", b'{"path":"short"}'),
    ("wanted rows", [{"key": Decimal("sNaN")}]),
    ("wanted rows", [{"key": Decimal("Infinity")}]),
    ("wanted rows", [{"key": "a", "activity_levels": "[" * 100_000}]),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("name", "found"), FOUND)
def test_what_was_found_stays_mended(name: str, found: Any) -> None:
    ALL[name].check(found)


@pytest.mark.parametrize("name", ALL)
def test_what_comes_from_outside_is_used_or_refused_in_a_line(name: str) -> None:
    target = ALL[name]
    settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )(given(target.inputs)(target.check))()
