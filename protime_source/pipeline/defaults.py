"""What dlt would get wrong for the pipeline `protime` if nobody told it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import DuplicateConfigProviderException
from dlt.common.configuration.providers import ConfigProvider
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.pipeline import PipelineContext

PIPELINE = "protime"

DUCKDB_FILE = "protime_warehouse.duckdb"
"""Where the pipeline `protime` loads to when no DuckDB file is named. dlt would take
`protime.duckdb`, but DuckDB cannot hold a dataset `protime` in a file of that name."""


class DuckdbFile(ConfigProvider):
    """Names the DuckDB file of the active pipeline `protime`, after all other places.

    It looks at the active pipeline, since dlt does not say the pipeline's name for `dataset()`.
    When it does say it, it asks all places with the name before all without: an answer then would
    beat what a user set without it.
    """

    name = "protime defaults"
    supports_secrets = True
    supports_sections = True

    def get_value(
        self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str
    ) -> tuple[Any, str]:
        """The file, when it is `destination.duckdb.credentials.database` that is looked for."""
        path = ".".join([*sections, key])
        is_wanted = pipeline_name is None and path == "destination.duckdb.credentials.database"
        return (DUCKDB_FILE if is_wanted and _is_active() else None), path


def _is_active() -> bool:
    context = Container()[PipelineContext]
    return context.is_active() and context.pipeline().pipeline_name == PIPELINE


def install() -> None:
    """Makes dlt ask for them.

    A `.dlt/` file that cannot be read fails here first; it fails again, and is told, at the first
    setting that is asked for. A notebook may import this module anew.
    """
    with suppress(TomlProviderReadException, DuplicateConfigProviderException):
        dlt.config.register_provider(DuckdbFile())
