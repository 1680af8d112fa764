"""What the loads of one run share."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from protime_source.api.http import Connection
from protime_source.api.transport import Transport
from protime_source.settings import Settings
from protime_source.sync.reader import Reader


class Session:
    """The way to a tenant, and the walks that are read ahead of what is loaded.

    Args:
        settings: The tenant, and how to load.
        reads_on: Whether a walk is read on while a part of it is loaded. That takes loads that
            follow each other until it is complete, and a `with` around them.

    Attributes:
        settings: The same.
        reads_on: The same.
        refused_scopes: Scopes that were of no use.
    """

    def __init__(self, settings: Settings, *, reads_on: bool = False) -> None:
        self.settings = settings
        self.reads_on = reads_on
        self.refused_scopes: set[str] = set()
        self._connection = Connection(settings)
        self._transports: dict[tuple[str, str], Transport] = {}
        self._readers: dict[str, tuple[str, Reader]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as all_of_them:
            for transport in self._transports.values():
                all_of_them.callback(transport.close)
            for _link, reader in self._readers.values():
                all_of_them.callback(reader.close)

    def transport(self, table: str, scope: str) -> Transport:
        """The way to a collection, with a token of a scope: the same for each load."""
        found = self._transports.get((table, scope))
        if found is None:
            found = Transport(self.settings, [scope], self._connection)
            self._transports[table, scope] = found
        return found

    def release(self, table: str, scope: str) -> None:
        """Ends what a load used, unless others follow."""
        if not self.reads_on:
            self._transports.pop((table, scope)).close()

    def take(self, table: str, link: str) -> Reader | None:
        """The reader that reads on from a link, if there is one."""
        known, reader = self._readers.pop(table, ("", None))
        if reader is not None and known != link:
            reader.close()
            return None
        return reader

    def keep(self, table: str, link: str, reader: Reader) -> None:
        """Keeps a reader for the load that goes on from a link."""
        self._readers[table] = (link, reader)
