"""What a listener remembers: in a file for its owner alone, which may be lost."""

from __future__ import annotations

import logging
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protime_source.api.redaction import redact
from protime_source.errors import AlreadyRunningError, SettingsError
from protime_source.webhooks.memory import KnownWebhook, Memory, one_listener

KNOWN = {
    "id": KnownWebhook(
        "people",
        "https://acme.example",
        "a private key",
        datetime.now(UTC),
        datetime(2030, 1, 1, tzinfo=UTC),
    )
}


@pytest.fixture
def working_dir(tmp_path: Path) -> str:
    return str(tmp_path / "pipelines" / "acme")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pipelines" / ".acme.webhooks.json"


def test_path_and_keys_are_remembered(working_dir: str) -> None:
    first = Memory.of(working_dir)
    first.keep(KNOWN)
    second = Memory.of(working_dir)
    assert (second.path, second.webhooks) == (first.path, KNOWN)


def test_nobody_can_guess_the_path(working_dir: str) -> None:
    paths = {Memory.of(working_dir).path for _ in range(10)}
    assert len(paths) == 10
    assert min(map(len, paths)) >= 43


def test_only_the_owner_reads_the_file(working_dir: str, file: Path) -> None:
    Memory.of(working_dir).keep(KNOWN)
    Memory.of(working_dir).keep({})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_what_is_remembered_is_not_logged(working_dir: str) -> None:
    memory = Memory.of(working_dir)
    memory.keep(KNOWN)
    text = f"POST /x/{memory.path}/people with 'a private key'"
    assert redact(text) == "POST /x/***/people with '***'"


def test_a_damaged_file_is_replaced(
    working_dir: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Memory.of(working_dir).keep(KNOWN)
    file.write_bytes(file.read_bytes()[:40])
    with caplog.at_level(logging.WARNING):
        memory = Memory.of(working_dir)
    assert memory.webhooks == {}
    assert "the webhooks are made anew" in caplog.text
    memory.keep(KNOWN)
    assert Memory.of(working_dir).webhooks == KNOWN


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        Memory.of(str(tmp_path / "file" / "acme")).keep(KNOWN)


def test_a_pipeline_has_one_listener_on_a_machine(working_dir: str) -> None:
    with (
        one_listener(working_dir),
        pytest.raises(AlreadyRunningError, match="listener of the pipeline acme"),
        one_listener(working_dir),
    ):
        pass
    with one_listener(working_dir):
        pass
