"""What is measured, each in a process of its own: `python -m tests.bench.loads NAME URL FOLDER`."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

DELTA = "/connector/protimeapi/api/v1/assignments"
"""Where a full load starts. Repeated here, so that the floor need not import dlt."""

COLUMNS = """{
    id: 'BIGINT', changeVersion: 'VARCHAR', isRejected: 'BOOLEAN', person: 'STRUCT(id BIGINT)',
    "from": 'DATE', until: 'DATE', startTimeInMinutes: 'BIGINT', endTimeInMinutes: 'BIGINT',
    breakDurationInMinutes: 'BIGINT', comments: 'VARCHAR', activityLevels: 'JSON'
}"""


class _Links(msgspec.Struct):
    nextLink: str | None = None  # noqa: N815


def _pages(url: str) -> Iterator[bytes]:
    """Fetches the pages over one connection."""
    link: str | None = DELTA
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        while link:
            connection.request("GET", link)
            body = connection.getresponse().read()
            yield body
            link = msgspec.json.decode(body, type=_Links).nextLink


def floor(url: str, folder: Path) -> None:
    """The floor: stores the pages with a plain HTTP client and reads them with DuckDB."""
    import duckdb

    for number, body in enumerate(_pages(url)):
        (folder / f"{number:06}.json").write_bytes(body)
    with duckdb.connect(str(folder / "floor.duckdb")) as connection:
        connection.execute(f"""
            CREATE TABLE assignments AS SELECT r.* EXCLUDE (person), r.person.id AS person_id FROM (
                SELECT UNNEST(value) AS r FROM read_json('{folder}/*.json',
                    columns = {{value: 'STRUCT({_struct()})[]'}}, maximum_object_size = 100000000)
            )
        """)


def _struct() -> str:
    """The columns as the fields of a struct."""
    pairs = COLUMNS.strip("{} \n").replace("\n", " ").split(", ")
    return ", ".join(pair.strip().replace(": '", " ").rstrip("'") for pair in pairs)


def fetch(url: str, folder: Path) -> None:
    """Only fetches the pages, which shows what the network takes."""
    for _ in _pages(url):
        pass


def source(url: str, folder: Path) -> None:
    """This source, as its command line runs it."""
    from protime_source.cli.main import main

    sys.argv[1:] = ["run"]
    if code := main():
        sys.exit(code)


def rest_api(url: str, folder: Path, *, is_best: bool = False) -> None:
    """What a user would write: dlt's `rest_api`, its paginator, its OAuth, the same merge."""
    import dlt
    from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator
    from dlt.sources.rest_api import rest_api_resources

    resource: Any = {
        "name": "assignments",
        "primary_key": "id",
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "endpoint": {
            "path": DELTA.lstrip("/"),
            "data_selector": "value",
            "paginator": JSONLinkPaginator(next_url_path="nextLink"),
        },
    }
    if is_best:
        resource |= {"max_table_nesting": 0, "file_format": "parquet"}
    auth: Any = {
        "type": "oauth2_client_credentials",
        "access_token_url": f"{url}/token",
        "client_id": "client",
        "client_secret": "not-a-secret",
    }
    [assignments] = rest_api_resources(
        {"client": {"base_url": url, "auth": auth}, "resources": [resource]}
    )
    pipeline = dlt.pipeline(
        "by_hand",
        destination=dlt.destinations.duckdb(str(folder / "by_hand.duckdb")),
        dataset_name="protime_data",
        pipelines_dir=str(folder / "by_hand"),
    )
    pipeline.run(assignments)


def rest_api_best(url: str, folder: Path) -> None:
    """The same at its best: no child tables, Parquet."""
    rest_api(url, folder, is_best=True)


LOADS: dict[str, Callable[[str, Path], None]] = {
    load.__name__: load for load in (floor, fetch, source, rest_api, rest_api_best)
}

if __name__ == "__main__":
    name, address, place = sys.argv[1:]
    LOADS[name](address, Path(place))
