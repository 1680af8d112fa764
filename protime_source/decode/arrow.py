"""Columns of a table as Arrow arrays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

TIMESTAMP = pa.timestamp("us", "UTC")
TYPES: dict[str, pa.DataType] = {
    "bigint": pa.int64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "double": pa.float64(),
    "json": pa.string(),
    "text": pa.string(),
    "timestamp": TIMESTAMP,
}
"""Arrow's types by dlt's."""

_NULL = msgspec.Raw(b"null")
_FIRST_DAY = (date(1, 1, 1) - date(1970, 1, 1)).days


def array(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    """A column. Dates arrive as text: Arrow casts them, a hundred times faster than Python.

    Args:
        values: Its values.
        kind: Its type; `None` for that of its values.

    Raises:
        pyarrow.ArrowInvalid, OverflowError: When a value is no date, or does not fit.
    """
    if kind == pa.date32():
        days = pa.array(values, pa.string()).cast(kind)
        if (first := pc.min(days).cast(pa.int32()).as_py()) is not None and first < _FIRST_DAY:
            raise pa.ArrowInvalid("a year 0, which BigQuery and Python do not know")
        return days
    return pa.array(values, kind)


def json_text(values: Sequence[msgspec.Raw | None]) -> pa.Array:
    """A column of JSON as its text, where null is an absent value.

    The texts are joined at once: a third of the time that Arrow takes for one after the other.

    Args:
        values: Its values, together less than 2 GiB.

    Raises:
        pyarrow.ArrowInvalid: When it is not UTF-8.
    """
    texts = [_NULL if value is None else value for value in values]
    ends = pc.cumulative_sum(pa.array([0, *map(len, texts)], pa.int32()))
    joined = pa.py_buffer(b"".join(texts))
    column = pa.StringArray.from_buffers(len(texts), ends.buffers()[1], joined)
    column.validate(full=True)
    return pc.if_else(pc.equal(column, "null"), None, column)
