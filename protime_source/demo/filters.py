"""Parser of the API's `filter` expression (page `reference/filtering/`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from protime_source.demo.messages import HttpError

_TOKEN = re.compile(r"\s*(?:('[^']*')|(\d+)|([A-Za-z][\w-]*)|([(),]))")
_DAYS_IN_A_YEAR = 366


@dataclass(frozen=True)
class Selection:
    """What a filter selects: inclusive dates, `YYYY-MM-DD`, and people; empty means all."""

    start: str = ""
    end: str = ""
    people: frozenset[int] = frozenset()


def parse_filter(text: str, *, is_dated: bool = True) -> Selection:
    """The selection of a filter expression.

    Args:
        text: The expression.
        is_dated: Whether the collection has a date filter: then it is required, else refused.

    Raises:
        HttpError: 400 when the filter is missing, malformed, or without a start date.
    """
    if not text and not is_dated:
        return Selection()
    tokens = _tokens(text)
    selection = _conditions(tokens, Selection())
    if tokens:
        raise _malformed(f"Unexpected '{tokens[0]}'.")
    if not is_dated and (selection.start or selection.end):
        raise _malformed("There is no date to filter by.")
    if is_dated and not selection.start:
        raise _malformed("A start date is required: date ge 'YYYY-MM-DD'.")
    return selection


def check_delta(selection: Selection, today: date) -> None:
    """Check a filter against the rules for a delta (page `reference/delta/`).

    Raises:
        HttpError: 400 with the reasons.
    """
    earliest = f"{today.year - 1}-01-01"
    reasons = []
    if selection.people:
        reasons.append("The person filter is not allowed on a delta.")
    if selection.start and selection.start < earliest:
        reasons.append(f"The start date must not be earlier than {earliest}.")
    if selection.end and _length_in_days(selection) > _DAYS_IN_A_YEAR:
        reasons.append("The date range is limited to 1 year.")
    if reasons:
        raise HttpError(400, "The filter is not valid for a delta.", tuple(reasons))


def check_list(selection: Selection) -> None:
    """Check a filter against the rule for a plain list (page `reference/filtering/`).

    Raises:
        HttpError: 400 when the date range is longer than a year.
    """
    if selection.end and _length_in_days(selection) > _DAYS_IN_A_YEAR:
        raise HttpError(400, "The filter is not valid.", ("The date range is limited to 1 year.",))


def _length_in_days(selection: Selection) -> int:
    return (date.fromisoformat(selection.end) - date.fromisoformat(selection.start)).days


def _malformed(reason: str) -> HttpError:
    return HttpError(400, "The filter is missing or malformed.", (reason,))


def _tokens(text: str) -> list[str]:
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _malformed(f"Unexpected character at position {position}.")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


def _take(tokens: list[str], expected: str = "") -> str:
    if not tokens or (expected and tokens[0] != expected):
        raise _malformed(f"Expected '{expected or 'a condition'}'.")
    return tokens.pop(0)


def _conditions(tokens: list[str], selection: Selection) -> Selection:
    selection = _condition(tokens, selection)
    while tokens and tokens[0] == "and":
        tokens.pop(0)
        selection = _condition(tokens, selection)
    return selection


def _condition(tokens: list[str], selection: Selection) -> Selection:
    name = _take(tokens)
    if name == "(":
        selection = _conditions(tokens, selection)
        _take(tokens, ")")
        return selection
    reader = _READERS.get((name, _take(tokens)))
    if reader is None:
        raise _malformed(f"'{name}' with this operator is not supported.")
    return reader(tokens, selection)


def _date(tokens: list[str]) -> str:
    value = _take(tokens).strip("'")
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise _malformed(f"'{value}' is not a date of the form 'YYYY-MM-DD'.") from None


def _number(tokens: list[str]) -> int:
    value = _take(tokens)
    if not value.isdecimal():
        raise _malformed(f"'{value}' is not a number.")
    return int(value)


def _start(tokens: list[str], selection: Selection) -> Selection:
    return replace(selection, start=_date(tokens))


def _end(tokens: list[str], selection: Selection) -> Selection:
    return replace(selection, end=_date(tokens))


def _day(tokens: list[str], selection: Selection) -> Selection:
    day = _date(tokens)
    return replace(selection, start=day, end=day)


def _one_person(tokens: list[str], selection: Selection) -> Selection:
    return replace(selection, people=frozenset({_number(tokens)}))


def _many_people(tokens: list[str], selection: Selection) -> Selection:
    _take(tokens, "(")
    people = {_number(tokens)}
    while tokens and tokens[0] == ",":
        tokens.pop(0)
        people.add(_number(tokens))
    _take(tokens, ")")
    return replace(selection, people=frozenset(people))


_READERS: dict[tuple[str, str], Callable[[list[str], Selection], Selection]] = {
    ("date", "ge"): _start,
    ("date", "le"): _end,
    ("date", "eq"): _day,
    ("person", "eq"): _one_person,
    ("person", "in"): _many_people,
}
