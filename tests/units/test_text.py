"""Reports fit into a log of 100 columns, and into a narrower terminal."""

from __future__ import annotations

import pytest

from protime_source.pipeline.text import wrap

TEXT = "DuckDB's folder  " + "word " * 40


@pytest.mark.parametrize(("columns", "longest"), [(200, 100), (80, 80), (20, 60)])
def test_a_text_is_as_wide_as_the_terminal_but_never_wider_than_a_log(
    monkeypatch: pytest.MonkeyPatch, columns: int, longest: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = wrap(TEXT, "    ")
    assert longest - 5 < max(map(len, lines)) <= longest
    assert all(line.startswith("    word") for line in lines[1:])


def test_a_path_is_not_broken() -> None:
    path = "/".join(["folder"] * 30)
    assert wrap(f"Loaded into {path}.")[1:] == [f"  {path}."]
