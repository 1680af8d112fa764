"""What is fuzzed of settings and files, which people and other programs write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from hypothesis import strategies as st

from protime_source.catalogue import COLLECTIONS
from protime_source.errors import ProtimeError, SettingsError
from protime_source.pipeline.failures import explain
from protime_source.pipeline.folder import discard_if_damaged
from protime_source.pipeline.packages import staged_with
from protime_source.pipeline.states import NAME, resource_states
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark, BookmarkScope
from protime_source.webhooks.memory import Memory
from protime_source.webhooks.registration import _renew_at
from protime_source.webhooks.signature import Signatures
from protime_source.writeback.rows import read_file
from protime_source.writeback.wanted import read_wanted
from tests.fuzz import inputs
from tests.fuzz.targets import SECRET, Target, for_people

_NAMES = [field.name for field in fields(Settings)]
_GIVEN = {"tenant": "acme", "client_id": "id", "client_secret": SECRET}
_VARIABLES = {f"SOURCES__PROTIME__{name.upper()}": value for name, value in _GIVEN.items()}
_SCOPE = BookmarkScope("memory", "2025-01-01", "")
_BOOKMARK = Bookmark(
    _SCOPE, "/x", False, "2026-01-05T00:00:00+00:00", 1, "2026-01-05T00:00:00+00:00"
)


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def _use(settings: Settings) -> None:
    """Everything that is made of settings can be made."""
    settings.window_start()
    settings.user_agent.encode("ascii")
    for text in (settings.api_origin, settings.token_endpoint, settings.client_id):
        text.encode()
    settings.client_secret.encode()
    for table in settings.collections:
        settings.collection(table)


def check_settings(given: dict[str, Any]) -> None:
    """Settings in code are right, or refused."""
    with for_people():
        _use(Settings.from_config(**{**_GIVEN, **given}))


def check_environment(given: dict[str, str]) -> None:
    """Variables are right, or refused."""
    given = {f"SOURCES__PROTIME__{name.upper()}": value for name, value in given.items()}
    with for_people(), mock.patch.dict(os.environ, {**_VARIABLES, **given}):
        _use(Settings.from_config())


def check_toml(text: str) -> None:
    """A file of settings is right, or refused in a line."""
    with _folder() as folder:
        (folder / ".dlt").mkdir()
        (folder / ".dlt" / "config.toml").write_text(text, errors="replace")
        before, context = Path.cwd(), Container()[PluggableRunContext]
        os.chdir(folder)
        try:
            with for_people():
                context.reload_providers()
                _use(Settings.from_config(client_id="id", client_secret=SECRET))
        except ProtimeError:
            raise
        except Exception as error:
            failure = explain(error)
            assert failure.exit_code == SettingsError.exit_code, failure
            assert len(failure.message.splitlines()) == 1
        finally:
            os.chdir(before)
            context.reload_providers()


def check_bookmark(state: Any) -> None:
    """What a state has for a bookmark can be used, or counts as none."""
    bookmark = Bookmark.read({"bookmark": state})
    if bookmark is not None:
        for _ in (bookmark.window_start, bookmark.full_load_start, bookmark.last_synced):
            pass
        assert bookmark.expires > bookmark.link_requested
        assert bookmark.full_load_start.tzinfo is not None
        bookmark.scope_changes(_SCOPE, start_is_default=True)
        assert isinstance(bookmark.link, str)


def check_states(state: Any) -> None:
    """What a committed state has of the source can be read, or counts as nothing."""
    for found in ({"sources": {NAME: state}}, {"sources": state}):
        for each in resource_states(found, NAME).values():
            Bookmark.read(each)
        staged_with("load", found, NAME)


def check_folder(files: dict[str, bytes]) -> None:
    """A working folder can be read, or is removed."""
    with _folder() as folder:
        working = folder / "protime"
        for name, content in files.items():
            path = working / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if discard_if_damaged(str(working)):
            assert not working.exists()
        assert not discard_if_damaged(str(working))


def check_webhook_memory(content: bytes) -> None:
    """What a listener remembers can be used, or it begins anew."""
    with _folder() as folder:
        (folder / "webhooks.json").write_bytes(content)
        memory = Memory(folder / "webhooks.json")
        assert len(memory.path) >= 32
        for each in memory.webhooks.values():
            _renew_at(each)
        memory.keep(memory.webhooks)
        assert Memory(folder / "webhooks.json").webhooks == memory.webhooks
        signatures = Signatures(lambda: memory.webhooks)
        signatures.accepts("assignments", [("X-Signature", "sha256=00")], content)


def check_wanted_rows(rows: list[dict[str, Any]]) -> None:
    """Each row that is to be pushed is valid, or has a problem in words."""
    with for_people():
        for each in read_wanted(rows):
            assert each.problems or (each.key and each.key.isprintable())
            assert all(len(problem.splitlines()) == 1 for problem in each.problems)


def check_wanted_file(given: tuple[str, bytes]) -> None:
    """A file of rows is read, or refused."""
    suffix, content = given
    with _folder() as folder, for_people():
        path = folder / f"rows{suffix}"
        path.write_bytes(content)
        check_wanted_rows([dict(row) for row in read_file(path)])


_VALUES = inputs.json_values | st.dates() | st.sampled_from(("true", "production", "mark", "all"))
_PRINTABLE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)
_VARIABLE = st.one_of(
    _PRINTABLE,
    st.binary(max_size=20).map(lambda raw: os.fsdecode(raw.replace(b"\x00", b""))),
    st.sampled_from(("a" * 5000, "-1", "nan", "1e999", "assignments", "٣", "https://[", "\n")),
)
_SETTING_NAMES = st.sampled_from(_NAMES)

WHOLE_BOOKMARK = {**vars(_BOOKMARK), "scope": vars(_SCOPE)}

_STORED = st.fixed_dictionaries(
    {},
    optional={name: st.just(value) | inputs.json_values for name, value in WHOLE_BOOKMARK.items()},
)
_BOOKMARKS = st.one_of(
    inputs.json_values,
    _STORED,
    st.tuples(st.sampled_from(list(WHOLE_BOOKMARK)), inputs.json_values).map(
        lambda changed: {**WHOLE_BOOKMARK, changed[0]: changed[1]}
    ),
)

_PATHS = (
    "state.json",
    "schemas/protime.schema.json",
    "load/.version",
    "normalize/.version",
    "load/normalized/1.0/schema.json",
    "load/normalized/1.0/load_package_state.json",
    "load/normalized/1.0/new_jobs/assignments.1.0.parquet",
    "normalize/extracted/1.0/new_jobs/assignments.1.0.typed-jsonl.gz",
    "normalize/extracted/1.0/load_package_state.json",
)
_STATES = st.fixed_dictionaries(
    {"_state_engine_version": st.just(4)},
    optional={
        "schema_names": inputs.json_values | st.just(["protime"]),
        "default_schema_name": inputs.json_values | st.just("protime"),
    },
).map(inputs.as_json)

_MEMORIES = st.fixed_dictionaries(
    {"path": inputs.json_values | st.just("p" * 43)},
    optional={
        "webhooks": st.dictionaries(
            inputs.odd_text,
            st.fixed_dictionaries(
                {
                    "collection": st.just("assignments") | inputs.json_values,
                    "url": st.just("https://x") | inputs.json_values,
                    "key": inputs.odd_text | inputs.json_values,
                    "created_at": st.datetimes().map(str) | inputs.json_values,
                },
                optional={"valid_until": st.datetimes().map(str) | inputs.json_values},
            ),
            max_size=2,
        )
    },
).map(inputs.as_json)

_COLUMNS = (
    *("key", "Key", "id", "is_deleted", "change_version", "person_id", "from_date", "until_date"),
    *("start_time_in_minutes", "break_duration_in_minutes", "comments", "activity_levels"),
    *("synced_at", "other"),
)
_CELLS = st.one_of(
    inputs.json_values,
    st.decimals(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.binary(max_size=5),
    st.timedeltas(),
    inputs.json_values.map(lambda value: inputs.as_json(value).decode()),
    st.sampled_from(("2026-01-05", "8:30", "1", "true", "[]", "[" * 100_000, "٣", "9" * 5000)),
)
_ROWS = st.lists(st.dictionaries(st.sampled_from(_COLUMNS), _CELLS, max_size=6), max_size=4)


def _parquet(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


_ARRAYS = st.sampled_from(
    (
        pa.array([10**9], pa.date32()),
        pa.array([-(10**9)], pa.date32()),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**62], pa.timestamp("ns", "Europe/Brussels")),
        pa.array([1], pa.duration("ns")),
        pa.array(
            [
                1.5,
            ],
            pa.float64(),
        ),
        pa.array([[1, 2]]),
        pa.array([{"a": 1}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([Decimal("1.5")]),
        pa.array([time(8, 30)]),
        pa.array([date(2026, 1, 5)]),
        pa.array([datetime(2026, 1, 5, 1)]),
        pa.array([timedelta(1)]),
        pa.array([b"x"]),
        pa.array(["x"]).dictionary_encode(),
        pa.nulls(1),
    )
)
_FILES = st.one_of(
    st.tuples(
        st.just(".csv"),
        st.lists(
            st.sampled_from(
                (
                    *(
                        "key",
                        "id",
                        "person_id",
                        "from_date",
                        "comments",
                        ",",
                        ";",
                        "\t",
                        "\n",
                        "\r",
                    ),
                    *('"', "1", "a", "2026-01-05", "\x00", "é", "\ufeff", " ", "9" * 140_000),
                )
            ),
            max_size=30,
        ).map(lambda pieces: "".join(pieces).encode()),
    ),
    st.tuples(st.sampled_from((".csv", ".parquet")), st.binary(max_size=200)),
    st.tuples(
        st.just(".parquet"),
        st.dictionaries(st.sampled_from(_COLUMNS), _ARRAYS, min_size=1, max_size=4).map(_parquet),
    ),
    st.tuples(
        st.just(".parquet"),
        st.integers(0, 400).map(lambda cut: _parquet({"key": pa.array(["a"])})[:cut]),
    ),
)

_TOML_VALUES = st.one_of(
    inputs.json_values.map(lambda value: json.dumps(value, default=str)),
    st.sampled_from(("true", "2026-01-05", "[1,", '"""', "''", "1_000", "nan", "{a=1}", "08:30")),
)
_TOML = st.one_of(
    st.text(max_size=60),
    st.dictionaries(_SETTING_NAMES, _TOML_VALUES, max_size=4).map(
        lambda given: (
            "[sources.protime]\n" + "\n".join(f"{name} = {value}" for name, value in given.items())
        )
    ),
    st.sampled_from(("sources = 1", "[sources]\nprotime = 1", "[[sources.protime]]\ntenant='a'")),
)

OF_FILES = {
    "settings": Target(st.dictionaries(_SETTING_NAMES, _VALUES, max_size=3), check_settings),
    "environment": Target(
        st.dictionaries(_SETTING_NAMES, _VARIABLE, max_size=3), check_environment
    ),
    "toml": Target(_TOML, check_toml),
    "bookmarks": Target(_BOOKMARKS, check_bookmark),
    "states": Target(
        st.one_of(
            inputs.json_values,
            st.fixed_dictionaries(
                {
                    "resources": st.dictionaries(
                        st.sampled_from(list(COLLECTIONS)),
                        inputs.json_values
                        | st.fixed_dictionaries({"protime_staged": inputs.json_values}),
                        max_size=2,
                    )
                    | inputs.json_values
                }
            ),
        ),
        check_states,
    ),
    "folders": Target(
        st.dictionaries(
            st.sampled_from(_PATHS),
            st.binary(max_size=30) | inputs.json_values.map(inputs.as_json),
            max_size=3,
        ).flatmap(
            lambda files: st.one_of(
                st.just(files), _STATES.map(lambda state: {**files, "state.json": state})
            )
        ),
        check_folder,
    ),
    "webhook memory": Target(st.binary(max_size=80) | _MEMORIES, check_webhook_memory),
    "wanted rows": Target(_ROWS, check_wanted_rows),
    "wanted files": Target(_FILES, check_wanted_file),
}
