"""Rows of files: CSV as people's programs write it, and Parquet."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protime_source import SettingsError
from protime_source.writeback.rows import read_file
from protime_source.writeback.wanted import read_wanted


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_as_programs_write_it(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = (("key", " person_id", "from_date", "comments"), ("a", "17", "2026-03-10", "Zaal é"))
    path = tmp_path / "roster.csv"
    path.write_text("\r\n".join(map(separator.join, lines)), encoding=encoding)
    [row] = read_wanted(read_file(path))
    assert row.problems == ()
    assert row.fields == {"person_id": 17, "from_date": date(2026, 3, 10), "comments": "Zaal é"}


def test_an_empty_value_is_none_and_a_surplus_one_is_said(tmp_path: Path) -> None:
    path = tmp_path / "roster.csv"
    path.write_text("key,person_id,comments\na,17,\nb,17,x,y\nc,17\n")
    empty, surplus, short = read_wanted(read_file(path))
    assert empty.fields["comments"] is short.fields["comments"] is None
    assert surplus.problems == ("unknown column a value beyond the last column",)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "roster.parquet"
    rows = [{"key": 1, "person_id": 17, "from_date": date(2026, 3, 10), "comments": None}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert read_file(path) == rows


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b"\xff\xfe"), ("a.parquet", b"no"), ("missing.csv", None)]
)
def test_a_file_that_cannot_be_read_is_said(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{name} cannot be read: .*Nothing was sent"):
        read_file(path)
