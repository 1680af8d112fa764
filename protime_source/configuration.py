"""Where dlt's configuration holds the settings, and names in it that are probably misspelt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import dlt
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs import known_sections

from protime_source.catalogue import COLLECTIONS

SECRETS = ("client_id", "client_secret")
"""The settings that are read only from where dlt keeps secrets."""

_SOURCE = "protime"


@dataclass(frozen=True)
class _Found:
    """A setting, and where it was found."""

    value: Any
    provider: ConfigProvider
    name: str
    sections: tuple[str | None, ...]
    key: str

    @property
    def place(self) -> str:
        if isinstance(self.provider, EnvironProvider):
            return f"environment variable {self.key}"
        file = self.provider.get_value_location(self.name, *self.sections)  # type: ignore[arg-type]
        # dlt names files of the project without their folder, and others with a word before them.
        where = f".dlt/{file}" if file.endswith(".toml") and ":" not in file else file
        section = ".".join(filter(None, self.sections))
        return f"{where or self.provider.name} [{section}]"


@dataclass(frozen=True)
class ConfigSections:
    """The sections of dlt's configuration that hold the settings of a source.

    Attributes:
        section: The section under `sources`.
        pipeline_name: The pipeline whose own sections, `<pipeline>.sources...`, win.
    """

    section: str = _SOURCE
    pipeline_name: str | None = None

    def value(self, name: str, *, table_name: str = "") -> Any:
        """Returns a setting; `None` when it is not set.

        The order is dlt's: the pipeline's own sections first, then those for all; the environment
        before files; `sources.<section>.protime` before `sources.<section>`. dlt would go on to
        look for a bare `ENVIRONMENT` or `COMPANY`, which other programs set for other reasons, and
        for another section's settings, which are another tenant's.

        Args:
            name: The setting.
            table_name: The table that it is for, if it is set by table.
        """
        found = self._find(name, table_name)
        return None if found is None else found.value

    def place(self, name: str, *, table_name: str = "") -> str:
        """Returns where a setting is set, in words; "" when it is not set.

        Args:
            name: The setting.
            table_name: The table that it is for, if it is set by table.
        """
        found = self._find(name, table_name)
        return "" if found is None else found.place

    def _find(self, name: str, table_name: str) -> _Found | None:
        accessor = dlt.secrets if name in SECRETS else dlt.config
        section = (known_sections.SOURCES, self.section)
        inner = (table_name,) if table_name else ()
        for pipeline_name in dict.fromkeys((self.pipeline_name, None)):
            for provider in accessor.config_providers:
                for path in ((*section, _SOURCE), section):
                    place = (pipeline_name, *path, *inner)
                    value, key = provider.get_value(name, accessor.default_type, *place)
                    if value is not None:
                        return _Found(value, provider, name, place, key)
        return None

    @property
    def name(self) -> str:
        """The section as it is written in a file."""
        return f"{known_sections.SOURCES}.{self.section}"

    @property
    def environment_prefix(self) -> str:
        """The prefix of the environment variables that are settings."""
        return f"{known_sections.SOURCES}__{self.section}__".upper()


SECTIONS = ConfigSections()
"""Those of the source as it is, for all pipelines."""


def find_typos(known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields each name set for the source that is almost a setting, and the likely setting.

    Args:
        known: The names of all settings.
    """
    valid = {*known, *COLLECTIONS}
    for name, key in _names_set_for_the_source():
        first = key.partition("__")[0]
        has_effect = first in valid and name.startswith((SECTIONS.environment_prefix, "["))
        if not has_effect and (near := get_close_matches(first, valid, 1, 0.8)):
            yield name, near[0]


def _names_set_for_the_source() -> Iterator[tuple[str, str]]:
    """Each name as it is written, and in lower case without its prefix."""
    for name in sorted(os.environ):
        if prefix := re.match("SOURCES__?PROTIME__?", name):
            yield name, name[prefix.end() :].lower()
    # Not through `dlt.config`: the pipeline's trace would then hold the section with its secrets.
    for provider in dlt.config.config_providers:
        section, _ = provider.get_value(SECTIONS.section, dict, None, known_sections.SOURCES)
        if isinstance(section, Mapping):
            yield from ((f"[{SECTIONS.name}] {name}", str(name).lower()) for name in section)
