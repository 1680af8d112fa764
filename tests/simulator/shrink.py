"""A failing history made small, and said in lines that can be pasted into a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from tests.simulator.protime import Behaviour
from tests.simulator.steps import History, Step
from tests.simulator.world import World

_AS_THEY_ARE = ("host", "hours", "page_size", "gone")
"""Numbers that are no smaller for being lower."""


def failure_of(history: History) -> str:
    """What is wrong with a history, without its numbers; empty when nothing is."""
    try:
        World(history).live()
    except Exception as error:
        return re.sub(r"\W*\d+\W*", " N ", f"{type(error).__name__}: {error}")[:60]
    return ""


def shrink(history: History) -> History:
    """Returns a history that fails in the same way, with fewer steps and smaller numbers."""
    failure = failure_of(history)
    smaller: History | None = history
    while smaller is not None:
        history = smaller
        smaller = next((h for h in _smaller(history) if failure_of(h) == failure), None)
    return history


def _smaller(history: History) -> Iterator[History]:
    """Histories that are a little smaller: the largest cuts first."""
    steps = history.steps
    for size in (len(steps) // 2, len(steps) // 4, 2, 1):
        for first in range(0, len(steps) - size + 1) if size else ():
            yield replace(history, steps=steps[:first] + steps[first + size :])
    for switch in _simpler(history.behaviour):
        yield replace(history, behaviour=switch)
    if history.in_two_files:
        yield replace(history, in_two_files=False)
    for number, step in enumerate(steps):
        for simpler in _simpler(step):
            yield replace(history, steps=(*steps[:number], simpler, *steps[number + 1 :]))


def _simpler(thing: Any) -> Iterator[Any]:
    """A step or behaviour with one field at its default, or its numbers halved or one less."""
    for field in fields(thing):
        value = getattr(thing, field.name)
        if field.default not in (value, ...) and _has_default(field):
            yield replace(thing, **{field.name: field.default})
        if type(value) is int and value > 1 and field.name not in _AS_THEY_ARE:
            yield replace(thing, **{field.name: value // 2})
            yield replace(thing, **{field.name: value - 1})


def _has_default(field: Any) -> bool:
    return type(field.default).__name__ != "_MISSING_TYPE"


def as_code(history: History) -> str:
    """A test of a history, to paste."""
    behaviour = _call(history.behaviour)
    rest = "".join(
        f"            {field.name}={getattr(history, field.name)!r},\n"
        for field in fields(history)
        if field.name not in ("behaviour", "steps")
        and getattr(history, field.name) != field.default
    )
    steps = "".join(f"                {_call(step)},\n" for step in history.steps)
    return (
        "def test_a_history() -> None:\n"
        "    live_through(\n        History(\n"
        f"            {behaviour},\n            (\n{steps}            ),\n{rest}        )\n    )\n"
    )


def _call(thing: Behaviour | Step) -> str:
    """A call that makes a thing, without what is as usual."""
    parts = [
        f"{field.name}={getattr(thing, field.name)!r}"
        for field in fields(thing)
        if getattr(thing, field.name) != field.default
    ]
    return f"{type(thing).__name__}({', '.join(parts)})"
