"""A demo tenant's planners change what is ahead, at believable notice, and nothing impossible."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from protime_source.demo import DemoTenant


def leads(tenant: DemoTenant, before: dict[int, dict[str, object]]) -> list[int]:
    """Days from today to the work, of each assignment that is new, other or gone."""
    today = tenant.clock.today()
    after = tenant.records
    changed = [id_ for id_ in before.keys() | after.keys() if before.get(id_) != after.get(id_)]
    records = [before.get(id_) or after[id_] for id_ in changed]
    return [(date.fromisoformat(str(record["from"])) - today).days for record in records]


def test_most_changes_are_of_the_next_weeks_and_few_of_the_past() -> None:
    tenant = DemoTenant(rows=20_000)
    before = dict(tenant.records)
    tenant.replan(1000, seed=3)
    found = leads(tenant, before)
    parts = {"past": (-9, -1), "today": (0, 0), "soon": (1, 9), "later": (10, 41)}
    shares = {
        name: sum(first <= days <= last for days in found) / len(found)
        for name, (first, last) in parts.items()
    }
    assert sum(shares.values()) == pytest.approx(1)
    assert 0.03 < shares["past"] < 0.10
    assert 0.05 < shares["today"] < 0.15
    assert 0.45 < shares["soon"] < 0.62
    assert 0.22 < shares["later"] < 0.38


def test_people_times_and_days_stay_possible() -> None:
    tenant = DemoTenant(rows=3000)
    for seed in range(20):
        tenant.replan(100, seed=seed)  # what Protime would refuse raises
    people = {*tenant.of("people")}
    assert {record["person"]["id"] for record in tenant.records.values()} <= people
    assert all(r.get("until", r["from"]) >= r["from"] for r in tenant.records.values())


@pytest.mark.parametrize("rows", [0, 3])
def test_a_tenant_with_hardly_an_assignment_gets_new_ones(rows: int) -> None:
    tenant = DemoTenant(rows=rows)
    tenant.replan(50, seed=1)
    assert len(tenant.records) > 20


def test_of_a_large_tenant_the_newest_days_were_clocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protime_source.demo.tenant._MAX_ROWS_OF_A_FULL_COMPANY", 1000)
    tenant = DemoTenant(rows=5000)
    days = {date.fromisoformat(str(each["date"])) for each in tenant.of("clockings").values()}
    today = tenant.clock.today()
    assert today - timedelta(days=7) < max(days) < today
    planned = sorted(str(record["from"]) for record in tenant.records.values())
    assert min(days) >= date.fromisoformat(planned[4000]) - timedelta(days=1)
