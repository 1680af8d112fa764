"""What the resources of one source have in common, for good and while they are extracted."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from functools import cached_property

import dlt
from dlt.common.pipeline import TPipelineState

from protime_source.api.pages import Part
from protime_source.errors import SettingsError
from protime_source.pipeline.state import committed
from protime_source.settings import Settings
from protime_source.sync.session import Session
from protime_source.warehouse.dialect import Client, client_of


@dataclass
class Job:
    """What the resources of one source have in common.

    Attributes:
        session: The tenant, and how to load.
        part: How much of a walk to take.
        full_resync: Walk from the start, whatever is remembered.
    """

    session: Session
    part: Part
    full_resync: bool
    _package: Package | None = field(default=None, init=False)

    @property
    def settings(self) -> Settings:
        """How to load."""
        return self.session.settings

    @property
    def package(self) -> Package:
        """The load package that is extracted: a source may run again, also in another pipeline.

        Raises:
            SettingsError: When the one before is still being extracted.
        """
        load_id = dlt.current.load_package_state()["load_id"]
        if self._package is None or self._package.load_id != load_id:
            if self._package is not None and self._package.at_work:
                raise SettingsError(
                    "This source object is at work in another thread, and dlt would mix the two"
                    " up. Make one for each pipeline: protime(). This run has done nothing."
                )
            self._package = Package(self, load_id, dlt.current.pipeline())
        return self._package


@dataclass
class Package:
    """One load package while it is extracted.

    Attributes:
        job: What it is extracted for.
        load_id: dlt's name of it.
        pipeline: Whose it is.
        refused: Tables that the tenant does not let this client read.
        at_work: Tables that are being extracted.
        ended: Tables that are extracted, or refused.
    """

    job: Job
    load_id: str
    pipeline: dlt.Pipeline
    refused: set[str] = field(default_factory=set)
    at_work: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    @cached_property
    def client(self) -> Client:
        """Dlt's client of the destination, made once."""
        return client_of(self.pipeline)

    @cached_property
    def committed(self) -> TPipelineState | None:
        """The pipeline's state in the destination, read once."""
        return committed(self.pipeline, self.client)

    def is_last(self, selected: Set[str]) -> bool:
        """Whether all but one of some tables have ended."""
        return len(selected - self.ended) <= 1
