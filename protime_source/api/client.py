"""A tenant to read and write single records: one HTTP client, and a session for each collection."""

from __future__ import annotations

from typing import Any, Self

from protime_source.api.assignments import Assignments
from protime_source.api.clockings import Clockings
from protime_source.api.http import HttpClient
from protime_source.catalogue import ASSIGNMENTS
from protime_source.catalogue.time import CLOCKINGS
from protime_source.settings import Settings


class Client:
    """A tenant, to read and write single records.

    Args:
        settings: The tenant.

    Attributes:
        assignments: Its assignments.
        clockings: Its clockings.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = HttpClient(settings)
        # Each with a token of its own: a client may have the scopes of one of them only.
        self.assignments = Assignments(
            self._http.session([ASSIGNMENTS.read_scope, ASSIGNMENTS.write_scope])
        )
        self.clockings = Clockings(self._http.session([CLOCKINGS.write_scope]))

    @classmethod
    def from_config(cls, **settings: Any) -> Self:
        """Returns a client with the settings of the source.

        Args:
            **settings: Any of `Settings`, in place of dlt's configuration.

        Raises:
            SettingsError: When a setting is missing or wrong.
        """
        return cls(Settings.from_config(**settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()
