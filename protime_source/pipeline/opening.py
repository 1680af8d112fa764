"""Opens a pipeline by its name, for work or for a look alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import dlt
from dlt.common.configuration.resolve import resolve_configuration
from dlt.common.configuration.specs import known_sections
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.pipeline.configuration import PipelineConfiguration


@contextmanager
def looked_at(name: str, destination: str | None, dataset: str) -> Iterator[dlt.Pipeline]:
    """Opens a pipeline that loads nothing meanwhile.

    It holds no lock of its own, so a look is possible while a run is active, and leaves no working
    folder where there was none.

    Args:
        name: The pipeline.
        destination: Its destination; by default, what dlt's setting `destination_type` names.
        dataset: The dataset.
    """
    with TemporaryDirectory() as nowhere:
        folder = pipelines_dir(name) if os.path.isdir(working_dir(name)) else nowhere
        yield open_pipeline(name, folder, destination, dataset)


def open_pipeline(name: str, folder: str, destination: str | None, dataset: str) -> dlt.Pipeline:
    """Returns a pipeline with its working folder in a folder.

    Args:
        name: The pipeline.
        folder: Where its working folder is, or will be.
        destination: Its destination; by default, what dlt's setting `destination_type` names.
        dataset: The dataset.
    """
    destination = destination or dlt.config.get("destination_type", str) or "duckdb"
    return dlt.pipeline(name, folder, destination=destination, dataset_name=dataset)


def working_dir(name: str) -> str:
    """Returns the working folder of a pipeline's runs, which need not exist.

    Args:
        name: The pipeline.
    """
    return os.path.join(pipelines_dir(name), name)


def pipelines_dir(name: str) -> str:
    """Returns where dlt keeps the working folders of pipelines, as configured for this one."""
    spec = PipelineConfiguration(pipeline_name=name)
    configuration = resolve_configuration(spec, sections=(known_sections.PIPELINES, name))
    return configuration.pipelines_dir or get_dlt_pipelines_dir()
