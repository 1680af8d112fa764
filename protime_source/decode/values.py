"""Single JSON values as a warehouse can hold them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from protime_source.catalogue.model import ColumnType

_BACKSLASH = b"\\"
"""Looked for before any pattern: twenty times as fast, and many pages have none."""

_INT64 = range(-(2**63), 2**63)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATES = re.compile(
    rb"\\\\"  # a backslash, and what follows is no escape
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a character, in two halves
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"  # one half alone, which is no Unicode
)
_MARK = rb"\uFFFF"  # no character either, but one that a JSON decoder takes
_HARD = re.compile(rb"\\u(?:FFFF|0000)")
_DOUBTFUL = re.compile(rb"\\u(?:FFFF|0000|[dD][89a-fA-F])")
"""`_HARD` and `_HALF` in one: to look for each takes twice as long, and few pages have either."""
_ESCAPE = re.compile(rb"\\\\|\\u(?:FFFF|0000)")
_REPLACEMENT = rb"\ufffd"


class JsonText(str):
    """Text that is JSON, and belongs into a json column."""

    __slots__ = ()


def decodable(body: bytes) -> bytes:
    """JSON text with a mark in place of half characters, at which a decoder would give up.

    `mended` replaces the mark, where it is known which record it is in.
    """
    if _BACKSLASH not in body or _HALF.search(body) is None:
        return body
    return _SURROGATES.sub(_marked, body)


def _marked(match: re.Match[bytes]) -> bytes:
    """A half of the usual length is alone."""
    return _MARK if len(match[0]) == len(_MARK) else match[0]


def may_need_mending(text: bytes) -> bool:
    """Whether JSON text has an escape that some engine may not hold, or half a character."""
    if _BACKSLASH not in text or _DOUBTFUL.search(text) is None:
        return False
    return _HARD.search(decodable(text)) is not None


def mended(text: bytes, *, holds_nul: bool) -> bytes:
    """JSON text with U+FFFD in place of half characters, and of U+0000 where it has to be.

    Args:
        text: JSON text, as `decodable` made it.
        holds_nul: Whether the engine's text can hold U+0000.
    """

    def replacement(match: re.Match[bytes]) -> bytes:
        is_kept = match[0] == rb"\\" or (holds_nul and match[0] == rb"\u0000")
        return match[0] if is_kept else _REPLACEMENT

    return _ESCAPE.sub(replacement, text)


def fits_bigint(value: int) -> bool:
    """Whether 64 bits hold it."""
    return value in _INT64


def stand_in_id(id_: int) -> int:
    """A negative id for one that 64 bits do not hold: always the same, so that changes find it."""
    return -1 - id_ % 2**63


def is_date(text: str) -> bool:
    """Whether it is a date as a warehouse gives it."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def coerce(kind: ColumnType, value: Any, text: bytes) -> Any:
    """The value as its column holds it.

    Args:
        kind: dlt's data type of the column.
        value: The decoded value.
        text: The JSON text that it was decoded from.

    Raises:
        ValueError, TypeError: When it does not fit.
    """
    return _COERCE[kind](value, text)


def _to_bigint(value: Any, _: bytes) -> int:
    number = int(value)
    is_whole = isinstance(value, str) or number == value
    if isinstance(value, bool) or not is_whole or not fits_bigint(number):
        raise ValueError("not an integer of 64 bits")
    return number


def _to_bool(value: Any, _: bytes) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def _to_text(value: Any, text: bytes) -> str:
    return value if isinstance(value, str) else text.decode()


def _to_double(value: Any, _: bytes) -> float:
    if isinstance(value, bool):
        raise TypeError("not a number")
    if not math.isfinite(number := float(value)):
        raise ValueError("not a number either")
    return number


def _to_date(value: Any, _: bytes) -> str | None:
    if value == "":
        return None  # "empty = open-ended" (reference/collections/people)
    return date.fromisoformat(value[:10]).isoformat()


_COERCE: dict[ColumnType, Callable[[Any, bytes], Any]] = {
    "bigint": _to_bigint,
    "text": _to_text,
    "bool": _to_bool,
    "date": _to_date,
    "double": _to_double,
    "json": lambda _, text: text.decode(),
}
