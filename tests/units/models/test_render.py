"""Each model's SQL is of the engine that it is for."""

from __future__ import annotations

import pytest

from protime_source.models import MODELS
from protime_source.models.model import Model
from protime_source.models.render import render

every_model = pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)


def sql(model: Model, engine: str, *existing: str) -> str:
    return render(model, engine, {*model.needs, *existing}, lambda name: f"shop.{name}").query


@every_model
def test_bigquery_is_given_numbers_as_intervals(model: Model) -> None:
    assert "INTERVAL '" not in sql(model, "bigquery")


@every_model
def test_only_tables_that_are_there_are_read(model: Model) -> None:
    without, with_all = sql(model, "duckdb"), sql(model, "duckdb", *model.uses)
    assert not any(f"shop.{name} " in without for name in model.uses)
    assert all(f"shop.{name} " in with_all for name in model.uses)
