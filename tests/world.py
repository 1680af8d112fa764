"""A demo tenant over real HTTP, a DuckDB file, and what must be true between the two."""

from __future__ import annotations

import json
import shutil
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import dlt

from protime_source import protime
from protime_source.catalogue import ASSIGNMENTS
from protime_source.catalogue.model import Collection
from protime_source.demo import DemoServer, DemoTenant, Fault
from protime_source.demo.messages import Request
from protime_source.pipeline.load import load
from protime_source.pipeline.states import read_bookmark
from protime_source.pipeline.summary import Summary
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from tests.engines import DuckDBEngine, Engine

Row = dict[str, Any]


@dataclass
class Moment(Fault):
    """No fault: something that happens in the tenant just before the request it would hit."""

    kind: Any = "status"
    action: Callable[[], object] = bool

    def hits(self, request: Request) -> bool:
        if super().hits(request):
            self.action()
        return False


@dataclass
class World:
    """Everything a run touches."""

    tenant: DemoTenant
    server: DemoServer
    folder: Path
    engine: Engine

    @property
    def database(self) -> Path:
        """The file, when it is DuckDB's."""
        assert isinstance(self.engine, DuckDBEngine)
        return self.engine.database

    @database.setter
    def database(self, path: Path) -> None:
        self.engine = DuckDBEngine(path)

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.engine.dataset

    def pipeline(self, name: str = "protime", dataset: str | None = None) -> dlt.Pipeline:
        """A pipeline as after a new start of Python: only its working folder is remembered."""
        return dlt.pipeline(
            name,
            destination=self.engine.destination(),
            dataset_name=dataset or self.dataset,
            pipelines_dir=str(self.folder / "pipelines"),
        )

    def run(self, **arguments: Any) -> dlt.Pipeline:
        """One `pipeline.run(protime())`."""
        pipeline = self.pipeline()
        with self.engine.kept_open():
            pipeline.run(protime(**arguments))
        return pipeline

    def load(self, **arguments: Any) -> Summary:
        """One `load(pipeline)`."""
        with self.engine.kept_open():
            return load(self.pipeline(), **arguments)

    def elsewhere(self) -> World:
        """The same tenant with a working folder and a DuckDB file of its own."""
        engine = DuckDBEngine(self.folder / "other.duckdb")
        return replace(self, folder=self.folder / "other", engine=engine)

    def lose_working_folder(self) -> None:
        """What a scheduler without a disk of its own does between runs."""
        shutil.rmtree(self.folder / "pipelines")
        self.engine.end_lease()

    def bookmark(self) -> Bookmark:
        """The bookmark that the last run left."""
        bookmark = read_bookmark(self.pipeline(), "assignments")
        assert bookmark is not None
        return bookmark

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Asks the warehouse, with the engine's own client."""
        return self.engine.query(sql)

    def rows(self, table: str = "assignments") -> dict[int, Row]:
        """All rows of the table by id."""
        names, found = self.engine.ask(f"SELECT * FROM {self.dataset}.{table} ORDER BY id")
        rows = [dict(zip(names, values, strict=True)) for values in found]
        assert len({row["id"] for row in rows}) == len(rows), "an id is there twice"
        return {row["id"]: row for row in rows}

    def seen(self) -> dict[int, Row]:
        """All rows as somebody finds them who leaves no trace; none where there is no table yet."""
        with self.engine.aside() as engine:
            return replace(self, engine=engine).rows() if engine.holds("assignments") else {}

    def live(self) -> dict[int, Row]:
        """The live rows by id."""
        return {id_: row for id_, row in self.rows().items() if not row["is_deleted"]}

    def staged(self) -> list[int]:
        """Ids of all rows that were handed to dlt in the last load, whatever became of them."""
        return [id_ for (id_,) in self.query(f"SELECT id FROM {self.dataset}_staging.assignments")]

    def check(self) -> None:
        """The table says what Protime says: live rows equal the tenant's, field by field."""
        shown = {id_: as_sent(row) for id_, row in self.live().items()}
        wanted = {id_: as_wanted(record) for id_, record in self.tenant.records.items()}
        assert shown == wanted

    def check_levels(self) -> None:
        """The view over the levels says what Protime says, of an assignment that is live."""
        view = f"{self.dataset}.assignments__activity_levels"
        found = self.query(f"SELECT assignment_id, level, activity_definition_id FROM {view}")
        wanted = (
            (id_, level["level"], level["activityDefinition"]["id"])
            for id_, record in self.tenant.records.items()
            for level in record.get("activityLevels", ())
        )
        assert sorted(found, key=str) == sorted(wanted, key=str)

    def check_tables(self, *tables: str) -> None:
        """Each of the tables says what Protime says: its live rows equal the records."""
        for table in tables:
            collection = Settings.from_config().collection(table)
            shown = {
                id_: comparable(collection, {c.path: row[c.name] for c in collection.columns})
                for id_, row in self.rows(table).items()
                if not row["is_deleted"]
            }
            wanted = {
                id_: comparable(collection, flat(record, collection))
                for id_, record in self.records_of(collection).items()
            }
            assert shown == wanted, table

    def records_of(self, collection: Collection) -> dict[Any, Row]:
        """What the tenant has in a collection and does not call deleted, on all levels."""
        names = [
            name
            for name in self.tenant.collections
            if name == collection.name or name.endswith(f"/{collection.name}")
        ]
        return {
            id_: record
            for name in names
            for id_, record in self.tenant.of(name).items()
            if record.get("status") != "Deleted"
        }

    @property
    def requests(self) -> int:
        """API requests since the last `tenant.clear_requests()`, tokens not counted."""
        return len(self.tenant.api_requests)


def timeless(rows: dict[int, Row]) -> dict[int, Row]:
    """Rows without the times at which they were received."""
    return {id_: {**row, "synced_at": None} for id_, row in rows.items()}


def as_sent(row: Row) -> Row:
    """A row of the table as the record that it came from; absent and null are the same."""
    levels = row["activity_levels"]
    record = {
        "id": row["id"],
        "changeVersion": row["change_version"],
        "isRejected": row["is_rejected"],
        "person": {"id": row["person_id"]},
        "from": _iso(row["from_date"]),
        "until": _iso(row["until_date"]),
        "startTimeInMinutes": row["start_time_in_minutes"],
        "endTimeInMinutes": row["end_time_in_minutes"],
        "breakDurationInMinutes": row["break_duration_in_minutes"],
        "comments": row["comments"],
        "activityLevels": None if levels is None else json.loads(levels),
    }
    return {name: value for name, value in record.items() if value is not None}


def as_wanted(record: Row) -> Row:
    """The tenant's record, without the fields that this package does not know."""
    paths = {column.path.partition(".")[0] for column in ASSIGNMENTS.columns}
    return {name: value for name, value in record.items() if name in paths and value is not None}


def flat(record: Row, collection: Collection) -> Row:
    """The values of a record by the paths of the columns."""
    values = {}
    for column in collection.columns:
        value: Any = record
        for part in column.path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values[column.path] = value
    return values


def comparable(collection: Collection, values: Row) -> Row:
    """Values without their types: as JSON has them; absent, null and an empty date are the same."""
    kinds = {column.path: column.type for column in collection.columns}
    found = {}
    for path, value in values.items():
        if kinds[path] == "json" and isinstance(value, str):
            value = json.loads(value)
        elif isinstance(value, date):
            value = value.isoformat()
        if value is not None and not (kinds[path] == "date" and value == ""):
            found[path] = value
    return found


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def claims(authorization: str) -> dict[str, Any]:
    """What the access token in a header says."""
    payload = authorization.removeprefix("Bearer ").split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(f"{payload}=="))
    return found
