"""Strategies for what comes from outside."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import Collection

_EDGES = (0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400)
_LITERALS = ("1e999", "-0", "0.1e1", "1E5", "123456789012345678901234567890.5", "NaN", "tru", "")
"""Numbers as JSON has them and Python does not write them, and what is no JSON."""

_DEPTHS = (50, 600, 3000, 100_000)
_LITERAL, _DEEP = "\ue000literal", "\ue000deep"

any_text = st.text(max_size=40)
"""Of any characters but halves of surrogate pairs."""

odd_text = st.one_of(
    any_text,
    st.text(st.sampled_from("\x00\uffff\ud800\udc00\u2028é🙏\\\"'/ \n\ta1-"), max_size=12),
    st.sampled_from(("", " ", "null", "2026-02-30", "2026-01-05", "9999-12-31", "0000-01-01")),
)
"""Halves of surrogate pairs too."""

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(_EDGES),
    st.floats(allow_nan=False, allow_infinity=False),
    odd_text,
    st.sampled_from(_LITERALS).map(lambda text: f"{_LITERAL}{text}"),
    st.sampled_from(_DEPTHS).map(lambda depth: f"{_DEEP}{depth}"),
)

json_values: SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_text, inner, max_size=4),
    max_leaves=8,
)
"""Values of any shape; `as_json` writes them."""


def as_json(value: Any) -> bytes:
    """Returns a value of `json_values` as JSON, with its odd numbers and depths."""
    return _written(value).encode()


def _written(value: Any) -> str:
    match value:
        case str() if value.startswith(_LITERAL):
            return value.removeprefix(_LITERAL)
        case str() if value.startswith(_DEEP):
            depth = int(value.removeprefix(_DEEP))
            return "[" * depth + "]" * depth
        case dict():
            inner = (f"{json.dumps(str(name))}:{_written(each)}" for name, each in value.items())
            return f"{{{','.join(inner)}}}"
        case list():
            return f"[{','.join(map(_written, value))}]"
        case int() if not isinstance(value, bool):
            return f"{value:d}" if abs(value) < 10**300 else "1" + "0" * 400
    return json.dumps(value)


collections = st.sampled_from(list(COLLECTIONS.values()))

_ids = st.one_of(st.integers(1, 9), st.integers(1, 9).map(str), json_values)
_versions = st.one_of(st.integers(1, 9).map(lambda n: f"{n:020X}"), json_values)


@st.composite
def records(draw: st.DrawFn, collection: Collection) -> Any:
    """A record of a collection: some of its fields, some of their right kind, and others."""
    if draw(st.integers(0, 30)) == 0:
        return draw(json_values)
    record: dict[str, Any] = {}
    columns = list(collection.columns)
    for column in draw(st.lists(st.sampled_from(columns), max_size=6)):
        _put(record, column.path, draw(_like(column.type) | json_values))
    record |= draw(st.dictionaries(odd_text, json_values, max_size=2))
    if draw(st.integers(0, 12)):
        record |= {"id": draw(_ids), "changeVersion": draw(_versions)}
    return record


def _put(record: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        inner = record.setdefault(parent, {})
        if not isinstance(inner, dict):
            return
        record = inner
    record[leaf] = value


def _like(type_: str) -> SearchStrategy[Any]:
    return {
        "bigint": st.integers(-(2**63), 2**63 - 1),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "bool": st.booleans(),
        "date": st.dates().map(str),
        "text": odd_text,
    }.get(type_, json_values)


@st.composite
def pages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A table, and a page of its records or something else."""
    collection = draw(collections)
    if draw(st.integers(0, 12)) == 0:
        return collection.table, draw(st.binary(max_size=60) | json_values.map(as_json))
    page: dict[str, Any] = {"value": draw(st.lists(records(collection), max_size=5))}
    page |= draw(st.dictionaries(st.sampled_from(("nextLink", "deltaLink")), json_values | links))
    body = as_json(page)
    if draw(st.integers(0, 12)) == 0:
        cut = draw(st.integers(0, len(body)))
        body = body[:cut]
    return collection.table, body


@st.composite
def event_pages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A table, and a page of its events or something else."""
    collection = draw(collections)
    change = st.sampled_from(("InsertOrUpdate", "Delete", "Moved", "")) | json_values
    event = st.fixed_dictionaries({"changeType": change, "data": records(collection)})
    events = draw(st.lists(event | json_values, max_size=5))
    return collection.table, as_json({"value": events, "deltaLink": "/api/x?deltaToken=the-token"})


_PIECES = (
    *"/\\:@?#%&=.[]; \r\n\t\x00é℀",
    *("//", "%2f", "%zz", "https:", "http:", "evil.example", "acme.myprotime.eu", ":443", "/api"),
    *("..", "deltaToken=the-token", "continuationToken=the-token", "filter=date ge '2026-01-01'"),
)
links = st.lists(st.sampled_from(_PIECES), max_size=9).map("".join) | any_text

headers = st.dictionaries(
    st.sampled_from(("Content-Type", "Retry-After", "Location", "Content-Encoding", "X-Odd")),
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        st.sampled_from(("text/html", "gzip", "-1", "9" * 5000, "nan", "1e9", "/x/" + "9" * 5000)),
        st.sampled_from(("Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 99 Foo 99999 99:99:99", "inf")),
    ),
    max_size=3,
)

bodies = st.one_of(
    json_values.map(as_json),
    st.binary(max_size=80),
    st.fixed_dictionaries(
        {
            "error": st.one_of(
                json_values,
                st.fixed_dictionaries({"code": json_values, "message": json_values}),
                st.fixed_dictionaries({"message": odd_text, "reasons": json_values}),
            ),
            "validationErrors": json_values,
        }
    ).map(as_json),
)
