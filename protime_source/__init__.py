"""A dlt source that keeps a warehouse true to Protime, by delta."""

from __future__ import annotations

from protime_source.source import install, protime
from protime_source.version import __version__

__all__ = ["__version__", "protime"]

install()
