"""Settings that name collections and their columns."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import dlt

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import REFERENCE
from protime_source.errors import SettingsError

SECTION = "sources.protime"
"""Where the settings stand in dlt's configuration."""

PREFIX = "SOURCES__PROTIME__"
"""Begins the variables of the environment that are settings."""

ALL = "all"
"""Names all collections at once."""


_LISTED = "that `python -m protime_source.catalogue` lists"


def wrong(name: str, value: object, wanted: str) -> SettingsError:
    """The error for a setting that cannot be what it is."""
    return SettingsError(
        f"The setting {name} is {value!r}, but must be {wanted}. Nothing was changed."
    )


def names(value: Any) -> tuple[str, ...]:
    """A list from a file or from code, or from the environment: `a, b` or `["a", "b"]`.

    Whatever else it is becomes a name, too, which then is no name of anything.
    """
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    elif not isinstance(value, Iterable):
        value = (value,)
    return tuple(text for each in value if (text := str(each).strip().strip("\"'")))


def collections(value: Any, structures: tuple[str, ...]) -> tuple[str, ...]:
    """The tables to load, for the names of collections in either spelling.

    Args:
        value: Names, or `all`; activity definitions are part of all when a structure is named.
        structures: The setting `activity_structures`.

    Raises:
        SettingsError: When there is no such collection.
    """
    tables = tuple(dict.fromkeys(name.replace("-", "_") for name in names(value)))
    if tables == (ALL,):
        return tuple(
            table for table, each in COLLECTIONS.items() if structures or not each.needs_structure
        )
    unknown = ", ".join(table for table in tables if table not in COLLECTIONS)
    if unknown or not tables:
        wanted = f"{ALL} or collections {_LISTED}{_near(unknown, COLLECTIONS)}"
        raise wrong("collections", unknown, wanted)
    return tables


def sensitive_columns(value: Any) -> tuple[str, ...]:
    """The sensitive columns that are wanted, as `table.column`.

    Raises:
        SettingsError: When there is no such sensitive column.
    """
    wanted = names(value)
    there = {
        f"{t}.{c.name}" for t, each in COLLECTIONS.items() for c in each.columns if c.sensitive
    }
    if unknown := [name for name in wanted if name not in there]:
        wanted_ones = f"sensitive columns {_LISTED}{_near(unknown[0], there)}"
        raise wrong("sensitive_columns", ", ".join(unknown), wanted_ones)
    return wanted


def external_references(value: Mapping[str, Any]) -> dict[str, str]:
    """The external references to ask for, by table.

    Raises:
        SettingsError: When a collection does not offer them, or the notation is another.
    """
    if not isinstance(value, Mapping):
        raise wrong("external_references", value, 'by table: {"assignments": "(people,...)"}')
    asked = {table.replace("-", "_"): re.sub(r"\s", "", str(each)) for table, each in value.items()}
    for table, text in asked.items():
        known = COLLECTIONS[table].references if table in COLLECTIONS else ()
        if not re.fullmatch(rf"(?:{REFERENCE.pattern})+", text) or any(
            collection not in known for collection, _ in REFERENCE.findall(text)
        ):
            wanted = f"pairs like (people,@badge-number), of {', '.join(known) or 'no collection'}"
            raise wrong(f"{table}.external_references", text, wanted)
        columns = [(of, name.removeprefix("@")) for of, name in REFERENCE.findall(text)]
        if len(set(columns)) < len(columns):
            raise wrong(f"{table}.external_references", text, "references of different names")
    return asked


def activity_structures(value: Any) -> tuple[str, ...]:
    """The structure versions and levels whose activity definitions to load.

    Raises:
        SettingsError: When one is not `<GUID of the structure version>/<level>`.
    """
    wanted = names(value)
    for each in wanted:
        if not re.fullmatch(r"[0-9A-Fa-f-]{36}/[0-9]{1,3}", each):
            shape = "the GUID of a structure version and a level: 7c1f...-...-...-...-.../1"
            raise wrong("activity_structures", each, shape)
    return wanted


def misspelt(known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names that somebody set for the source and that are nearly those of settings.

    Args:
        known: The settings there are.

    Yields:
        The name as it is set, and the one that is probably meant.
    """
    there = {*known, *COLLECTIONS}
    for name, key in _set_names():
        first = key.partition("__")[0]
        is_wrong = first not in there or not name.startswith((PREFIX, "["))
        if is_wrong and (near := get_close_matches(first, there, 1, 0.8)):
            yield name, near[0]


def _near(name: str, known: Iterable[str]) -> str:
    """What somebody probably meant."""
    near = get_close_matches(name, known, 1, 0.7)
    return f" (perhaps {near[0]})" if near else ""


def _set_names() -> Iterator[tuple[str, str]]:
    """What is set for the source: as it stands there, and in lower case without its prefix."""
    for name in sorted(os.environ):
        if found := re.match("SOURCES__?PROTIME__?", name):
            yield name, name[found.end() :].lower()
    # Not through `dlt.config`: it would note the section, secrets and all, in the pipeline's trace.
    *sections, key = SECTION.split(".")
    for provider in dlt.config.config_providers:
        section, _ = provider.get_value(key, dict, None, *sections)
        if isinstance(section, Mapping):
            yield from ((f"[{SECTION}] {name}", str(name).lower()) for name in section)


def is_on(name: str, value: Any) -> bool:
    """A switch.

    Raises:
        SettingsError: When it is neither true nor false.
    """
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise wrong(name, value, "true or false")
    return text == "true"
