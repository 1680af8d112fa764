"""States that were committed for more than the tables hold: they are taken back.

They are none unless two runs were at work at once, or one that was thought dead went on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import takewhile
from operator import itemgetter
from typing import Any, Literal

import dlt

from protime_source.pipeline.packages import PendingPackage, staged_with, state_hash
from protime_source.pipeline.states import (
    NAME,
    STAGED,
    StoredState,
    last_committed,
    resource_states,
    states_beside,
    uncommit,
)
from protime_source.sync.clock import MonotonicClock
from protime_source.warehouse.dialect import Client
from protime_source.warehouse.ledger import Silence
from protime_source.warehouse.staging import (
    StagedRows,
    empty_staging_tables,
    holds,
    holds_others,
    read_staged_rows,
)
from protime_source.warehouse.table import sync_again

logger = logging.getLogger(__name__)


def loads_to_take_back(
    client: Client, pipeline_name: str, packages: Sequence[PendingPackage], load_ids: Sequence[str]
) -> list[str]:
    """Returns the loads whose states stand for more than the tables hold, after a load.

    They are none unless two runs were at work at once. Then the rows that were merged may be the
    other one's, or the other one has committed after the package was found to rest on the newest
    state: what it learnt of a row that the package brought later is not in the table.

    Args:
        client: A client of the destination.
        pipeline_name: The pipeline.
        packages: The packages of the source that were pending before the load, oldest first.
        load_ids: dlt's ids of what was loaded.
    """
    loaded = [package for package in packages if package.load_id in load_ids]
    if not loaded:
        return []
    basis, source = loaded[0].basis, loaded[0].source
    newest = states_beside(client, pipeline_name, load_ids, limit=1)
    others = loads_since(newest, basis, source)
    if others:
        others = loads_since(states_beside(client, pipeline_name, load_ids), basis, source)
    staged = {
        name: rows for package in loaded for name, rows in package.staged.items() if rows.count
    }
    is_merged = is_emptied_by_dlt() or _holds_all(staged, read_staged_rows(client, staged))
    return [] if is_merged and not others else [*load_ids, *others]


Finding = Literal["right", "unmerged", "late"]
"""Whether a state stands for what is in the tables, for more, or for what was there before another
run merged late."""


def take_back_unmerged(
    pipeline: dlt.Pipeline,
    client: Client,
    states: Mapping[str, StoredState],
    silence: Silence,
) -> bool:
    """Takes back the newest state if the rows that it stands for may not be those in the tables.

    Each run looks at that after its load. This is for one that died before, or whose state another
    run must not rest on meanwhile. It must not rest on a newer one either, which nobody has looked
    at: so it looks again at what it reads after this, until nothing is taken back.

    Args:
        pipeline: The pipeline.
        client: A client of its destination.
        states: The states that it rests on otherwise.
        silence: What the ledger says of runs that ended without a word.

    Returns:
        Whether an earlier state counts now; after a late merge, one that leads to full loads.
    """
    if is_emptied_by_dlt() or not pipeline.config.restore_from_destination:
        return False
    load_id, state = last_committed(pipeline, states)
    held = read_staged_rows(client, staged_with(None, state, NAME))
    finding = find_unmerged(silence, load_id, state, NAME, held)
    if finding == "right":
        return False
    uncommit(client, pipeline.pipeline_name, [load_id], NAME, restarts=finding == "late")
    empty_staging_tables(client, [name for name, rows in held.items() if rows.count])
    logger.warning(
        "An earlier run ended without a word, and the staging tables no longer hold what it"
        " received: it may not be complete in the tables, and is fetched again."
    )
    return True


def find_unmerged(
    silence: Silence,
    load_id: str,
    state: Mapping[str, Any],
    source: str,
    held: Mapping[str, StagedRows],
) -> Finding:
    """Returns what the staging tables say of the newest state, after runs that ended silently.

    While they hold a package's rows, they are what was merged. A run that was known to have ended
    so before, and that went on since, has merged over any number of loads.

    Args:
        silence: What the ledger says of such runs.
        load_id: dlt's id of the load that committed the state.
        state: The state.
        source: The source's name in dlt.
        held: What the staging tables hold.
    """
    if "known" in silence and holds_others(staged_with(None, state, source), held):
        return "late"
    if "found" in silence and not _holds_all(staged_with(load_id, state, source), held):
        return "unmerged"
    return "right"


def _holds_all(staged: Mapping[str, StagedRows], held: Mapping[str, StagedRows]) -> bool:
    """Whether the staging tables hold the rows of a package, all of them."""
    return holds(staged, held, dict.fromkeys(staged, True))


def take_back(client: Client, pipeline_name: str, load_ids: Sequence[str], source: str) -> None:
    """Takes back what loads committed while others were at work: the state before them counts.

    What they merged stays. Some of it may have been merged after rows with a later `synced_at`, so
    that a copy has passed it: all that was merged since that state gets a new one.

    Args:
        client: A client of the destination.
        pipeline_name: The pipeline.
        load_ids: dlt's ids of the loads.
        source: The source's name in dlt.
    """
    newest, before = uncommit(client, pipeline_name, load_ids, source)
    states = resource_states(before, source)
    for table_name in resource_states(newest, source):
        noted = states.get(table_name, {}).get(STAGED, {"rows": [0, None, None]})
        since = StagedRows.from_json(noted["rows"]).last
        sync_again(client, table_name, since, MonotonicClock().after)


def is_emptied_by_dlt() -> bool:
    """Whether dlt is set to empty the staging tables itself after each load."""
    return bool(dlt.config.get("load.truncate_staging_dataset", bool))


def loads_since(
    states: Sequence[tuple[str, Mapping[str, Any]]], basis: str, source: str
) -> list[str]:
    """Returns the loads that were committed after a state; all of them if it is not there.

    Args:
        states: Committed states with the loads that committed them, newest first.
        basis: The hash of the state.
        source: The source's name in dlt.
    """
    before_all: tuple[str, Mapping[str, Any]] = ("", {})
    is_later = (
        (load_id, state_hash(state, source) != basis) for load_id, state in (*states, before_all)
    )
    return [load_id for load_id, later in takewhile(itemgetter(1), is_later)]
