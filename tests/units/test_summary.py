"""The summary of a run."""

from __future__ import annotations

from collections import Counter

from protime_source.catalogue import COLLECTIONS
from protime_source.pipeline.summary import Summary, TableSummary

COUNTS = ("received", "inserted", "updated", "soft_deleted", "unchanged", "stale")


def test_the_counts_of_all_collections_fit_into_100_columns() -> None:
    counts = Counter(dict.fromkeys(COUNTS, 1_234_567))
    tables = {table: TableSummary(counts, 1_234_567, None) for table in COLLECTIONS}
    head, *lines = str(Summary(tables, {}, {}, 1.5, 0, "DuckDB")).splitlines()[: len(tables) + 1]
    assert {len(line) for line in (head, *lines)} == {len(head)}
    assert len(head) <= 100
    assert [line.split() for line in lines] == [
        [table, *["1,234,567"] * 7] for table in COLLECTIONS
    ]
