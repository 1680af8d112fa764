"""dlt's working folder may be damaged: nothing is lost, and a run says what it did about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from protime_source import protime
from tests.command import run_here
from tests.world import World

Damage = Callable[[World, Path], object]


def cut(path: Path) -> None:
    """Leaves the first half of a file, as a power cut does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_all(pattern: str) -> Damage:
    """Returns a damage to files of the working folder, or of a package that is pending in it."""

    def damage(world: World, folder: Path) -> None:
        pipeline = world.pipeline()
        if "normalize/" in pattern or "normalized/" in pattern:
            pipeline.extract(protime())
        if "normalized/" in pattern:
            pipeline.normalize()
        damaged = [*folder.glob(pattern)]
        assert damaged
        for path in damaged:
            cut(path)

    return damage


def write(name: str, text: str) -> Damage:
    """Returns a damage that leaves a text in a file."""
    return lambda _, folder: (folder / name).write_text(text)


def become_a_file(_: World, folder: Path) -> None:
    """Puts a file where the folder was."""
    shutil.rmtree(folder)
    folder.write_text("")


SEEN_AT_ONCE: dict[str, Damage] = {
    "empty state": write("state.json", ""),
    "half a state": cut_all("state.json"),
    "other state": write("state.json", "{}"),
    "half a schema": cut_all("schemas/*.json"),
    "a file": become_a_file,
}
"""dlt fails on these when the pipeline is made."""

SEEN_LATER: dict[str, Damage] = {
    "extracted rows": cut_all("normalize/extracted/*/new_jobs/*.parquet"),
    "extracted state": cut_all("normalize/extracted/*/new_jobs/*.gz"),
    "normalized rows": cut_all("load/normalized/*/new_jobs/*.parquet"),
    "normalized schema": cut_all("load/normalized/*/schema.json"),
    "package's state": cut_all("load/normalized/*/load_package_state.json"),
    "version": write("load/.version", ""),
}

HEALED: dict[str, Damage] = {"no schemas": lambda _, folder: shutil.rmtree(folder / "schemas")}
"""`pipeline.run` gets over these, but not what asks the pipeline for its schema first."""

ALL = {**SEEN_AT_ONCE, **SEEN_LATER, **HEALED}


def test_the_command_discards_a_damaged_folder_and_says_so(
    world: World, subtests: pytest.Subtests
) -> None:
    assert run_here(world).returncode == 0
    folder, usual = world.folder / "dlt" / "pipelines", world.folder / "pipelines"
    for case, damage in ALL.items():
        with subtests.test(case):
            world.tenant.churn(20)
            folder.rename(usual)
            damage(world, usual / "protime")
            usual.rename(folder)
            world.tenant.clear_requests()
            done = run_here(world)
            assert done.returncode == 0
            warning = "warning: dlt's working folder was damaged and is discarded"
            assert done.stderr.count(warning) == 1
            world.check()
            assert world.requests == 1, "the bookmark came back from the warehouse"


def test_load_discards_a_damaged_folder_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    for case in ("normalized rows", "no schemas"):
        world.tenant.churn(20)
        ALL[case](world, Path(world.pipeline().working_dir))
        caplog.clear()
        world.load()
        assert "damaged and is discarded" in caplog.text, case
        world.check()
    caplog.clear()
    world.load()
    assert "damaged" not in caplog.text


def test_an_error_of_dlt_is_explained(world: World, subtests: pytest.Subtests) -> None:
    world.run()
    folder = Path(world.pipeline().working_dir)
    sound = shutil.copytree(folder, world.folder / "sound")
    for case, damage in SEEN_LATER.items():
        with subtests.test(case):
            world.tenant.churn(20)
            damage(world, folder)
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever dlt raises
                world.run()
            [note] = caught.value.__notes__
            assert f"Delete the folder {folder} and run again" in note
        shutil.rmtree(folder)
        shutil.copytree(sound, folder)
