"""All that a version has left, in one file: warehouses, working folders, tenants' stories."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.engines import DuckDBEngine, Engine, PostgresEngine
from tests.servers.postgres import PostgresServer, execute
from tests.upgrades.places import DATABASE
from tests.upgrades.story import Step

_FOLDER = Path(__file__).parent
_STORY = "story.json"
_DUMP = "postgres.sql"
_PIPELINES = "pipelines"


def archive_of(version: str) -> Path:
    """The file with all that a version has left."""
    return _FOLDER / f"{version}.tar.xz"


def versions() -> list[str]:
    """The versions whose files are stored."""
    return sorted(path.name.removesuffix(".tar.xz") for path in _FOLDER.glob("*.tar.xz"))


def pack(version: str, folder: Path) -> None:
    """Writes a version's file.

    Args:
        version: The version.
        folder: What it has left: a folder for each circumstance and engine.
    """
    # In one file, because they have most in common; the preset has room enough to see that.
    with tarfile.open(archive_of(version), "w:xz", preset=9) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name, filter=_without_owner)


def unpack(version: str, folder: Path) -> None:
    """Puts what a version has left into a folder."""
    with tarfile.open(archive_of(version)) as archive:
        archive.extractall(folder, filter="data")


@dataclass(frozen=True)
class Left:
    """What is left of a warehouse.

    Attributes:
        folder: The folder that it is in.
    """

    folder: Path

    def keep(self, working: Path, steps: list[Step], server: PostgresServer, url: str = "") -> None:
        """Fills the folder.

        Args:
            working: Where dlt's working folder is, and DuckDB's file.
            steps: The tenant's story.
            server: The server of Postgres.
            url: The database there, if that is the warehouse.
        """
        self.folder.mkdir()
        shutil.copytree(working / _PIPELINES, self.folder / _PIPELINES)
        for path in working.glob(f"{DATABASE.name}*"):
            shutil.copy(path, self.folder)
        if url:
            (self.folder / _DUMP).write_text(server.dump(url))
        (self.folder / _STORY).write_text(json.dumps(steps, ensure_ascii=False))

    def put_working_folder(self, folder: Path) -> None:
        """Puts dlt's working folder into a folder."""
        shutil.copytree(self.folder / _PIPELINES, folder / _PIPELINES)

    def put_warehouse(self, engine: Engine) -> None:
        """Puts the warehouse into an empty one."""
        match engine:
            case DuckDBEngine(database=database):
                for path in self.folder.glob(f"{DATABASE.name}*"):
                    end = path.name.removeprefix(DATABASE.name)
                    shutil.copy(path, database.with_name(database.name + end))
            case PostgresEngine(url=url):
                execute(url, (self.folder / _DUMP).read_text())

    @property
    def steps(self) -> list[Step]:
        """The tenant's story."""
        found = json.loads((self.folder / _STORY).read_text())
        return [(id_, fields) for id_, fields in found]


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    return entry.replace(uid=0, gid=0, uname="", gname="", deep=False)
