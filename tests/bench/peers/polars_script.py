# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb>=1.5,<2", "polars>=2,<3", "pyarrow>=20,<27", "requests>=2.32,<3"]
# ///
"""What somebody writes by hand in an afternoon: it follows the delta, and guards against nothing.

uv run --script polars_script.py URL FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import polars as pl
import requests

START = "/connector/protimeapi/api/v1/assignments"
LEVEL = pl.Struct({"level": pl.Int64, "activityDefinition": pl.Struct({"id": pl.String})})
RECORD = pl.Struct(
    {
        "id": pl.Int64,
        "changeVersion": pl.String,
        "isRejected": pl.Boolean,
        "person": pl.Struct({"id": pl.Int64}),
        "from": pl.String,
        "until": pl.String,
        "startTimeInMinutes": pl.Int64,
        "endTimeInMinutes": pl.Int64,
        "breakDurationInMinutes": pl.Int64,
        "comments": pl.String,
        "activityLevels": pl.List(LEVEL),
    }
)
EVENT = pl.Struct({"changeType": pl.String, "data": RECORD})


def records(page: pl.DataFrame) -> pl.DataFrame:
    """The records of a page, one column per field."""
    return page.with_columns(
        pl.col("person").struct.field("id").alias("person_id"),
        pl.col("from", "until").str.to_date(),
    ).drop("person")


def main(url: str, folder: Path) -> None:
    """Loads everything at first, and then what has changed."""
    session = requests.Session()
    login = {"client_id": "client", "client_secret": "not-a-secret"}
    token = session.post(f"{url}/token", data={"grant_type": "client_credentials", **login})
    session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
    bookmark = folder / "link.txt"
    link = bookmark.read_text() if bookmark.exists() else START
    response = session.get(f"{url}{link}")
    if response.status_code == 410:
        link = START
        response = session.get(f"{url}{link}")
    is_full = link == START
    item = RECORD if is_full else EVENT
    schema = {"value": pl.List(item), "nextLink": pl.String, "deltaLink": pl.String}
    pages = []
    while True:
        response.raise_for_status()
        page = pl.read_json(response.content, schema=schema)
        pages.append(page.select(pl.col("value").explode()).drop_nulls().unnest("value"))
        if not (link := page["nextLink"][0]):
            break
        response = session.get(f"{url}{link}")
    found = pl.concat(pages)
    with duckdb.connect(str(folder / "polars.duckdb")) as connection:
        connection.begin()
        if is_full:
            connection.register("rows", records(found))
            connection.execute("CREATE OR REPLACE TABLE assignments AS FROM rows")
        elif found.height:
            connection.register("rows", records(found.unnest("data")))
            connection.execute("DELETE FROM assignments WHERE id IN (SELECT id FROM rows)")
            connection.execute(
                "INSERT INTO assignments BY NAME"
                " SELECT * EXCLUDE (changeType) FROM rows WHERE changeType <> 'Delete'"
            )
        connection.commit()
    bookmark.write_text(page["deltaLink"][0])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
