"""The error tree is what its drawing says, and each error says what kind of trouble it is."""

from __future__ import annotations

import re

import pytest

import protime_source
from protime_source import errors
from protime_source.errors import ProtimeError, ResponseError, UnavailableError

EXIT_CODES = {
    "ProtimeError": 1,
    "SettingsError": 2,
    "ApiError": 3,
    "WarehouseError": 4,
    "VanishedRowsError": 5,
    "TooManyDeletesError": 5,
    "AlreadyRunningError": 6,
    "UnhealthyError": 7,
    "DifferencesError": 8,
}


def classes() -> dict[str, type[BaseException]]:
    """The error classes that the module defines."""
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }


def drawn() -> dict[str, str | None]:
    """Each class of the drawing in the module's docstring, with the one above it."""
    tree: dict[str, str | None] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([│├└─ ]*)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            tree[match[2]] = above.get(depth - 1)
            above[depth] = match[2]
    return tree


def test_the_drawing_is_the_tree() -> None:
    parents = {name: value.__bases__[0] for name, value in classes().items()}
    names = {
        name: parent.__name__ if parent in classes().values() else None
        for name, parent in parents.items()
    }
    assert drawn() == names
    assert [name for name, above in drawn().items() if above is None] == ["ProtimeError"]
    assert len(drawn()) > 10


def test_the_drawing_has_the_order_of_the_module() -> None:
    assert list(drawn()) == list(classes())


def test_each_class_of_the_drawing_is_explained() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "─ " in line]
    explained = [line for line in lines if re.search(r"Error  *\S", line)]
    assert lines == explained
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("name", drawn())
def test_every_error_is_public_and_a_protime_error(name: str) -> None:
    assert name in protime_source.__all__
    assert issubclass(getattr(protime_source, name), ProtimeError)


@pytest.mark.parametrize("name", drawn())
def test_the_exit_code_is_that_of_the_nearest_kind(name: str) -> None:
    kinds = [kind.__name__ for kind in classes()[name].__mro__]
    nearest = next(kind for kind in kinds if kind in EXIT_CODES)
    assert classes()[name].exit_code == EXIT_CODES[nearest]  # type: ignore[attr-defined]


def test_a_response_error_carries_what_protime_said() -> None:
    error = ResponseError("text", status=418, code="Teapot", reasons=["short", "stout"])
    assert (str(error), error.status, error.code) == ("text", 418, "Teapot")
    assert error.reasons == ("short", "stout")


def test_a_response_error_may_have_no_code_and_no_reasons() -> None:
    error = ResponseError("text", status=502)
    assert (error.code, error.reasons) == ("", ())


def test_an_unavailable_error_knows_how_long_to_wait_if_it_was_told() -> None:
    assert UnavailableError("text").retry_after is None
    assert UnavailableError("text", 7.5).retry_after == 7.5
