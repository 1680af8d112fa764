"""`protime listen`: runs at once when a webhook of Protime rings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from protime_source.cli.arguments import Commands, add_collections, add_pipeline
from protime_source.cli.commands.report import check_installed
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    from protime_source.cli.console import Console
    from protime_source.pipeline.summary import Summary
    from protime_source.settings import Settings
    from protime_source.webhooks.listener import Listener
    from protime_source.webhooks.schedule import Due

DESCRIPTION = (
    "Keeps the warehouse up to date within seconds: it makes webhooks at Protime, and runs at once"
    " when one of them rings, and at a fixed interval besides. What an event says is not believed:"
    " each run asks Protime's delta, so a webhook that is dead, late, doubled or forged loses and"
    " harms nothing. It needs the extra `webhooks`, the scope connector-protimeapi-webhooks.write,"
    " and a proxy that receives HTTPS for it. It runs until it is stopped."
)

MAX_INTERVAL_MINUTES = 2 * 24 * 60
"""A delta that is not used for 72 hours expires."""


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "listen", help="run at once when Protime's webhooks ring", description=DESCRIPTION
    )
    add_collections(parser, verb="load")
    parser.add_argument(
        "--url",
        required=True,
        metavar="URL",
        help="the public address that a proxy leads here, like https://acme.example/protime;"
        " webhooks below it belong to this listener alone",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="listen here. Default: 127.0.0.1"
    )
    parser.add_argument(
        "--port", type=int, default=8745, metavar="NUMBER", help="TCP port. Default: 8745"
    )
    for name, default, metavar, meaning in (
        ("--every", 15, "MINUTES", "load everything at least so often"),
        ("--pause", 2, "SECONDS", "at least so long between the starts of two runs"),
    ):
        described = f"{meaning}. Default: {default}"
        parser.add_argument(name, type=float, default=default, metavar=metavar, help=described)
    parser.add_argument(
        "--remove",
        action="store_true",
        help="delete the webhooks below the address, and end: when it will not be started again",
    )
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves and loads until it is stopped; returns an exit code only when it cannot."""
    stop_at_once("The next start loads what has changed meanwhile.")

    from protime_source.cli.pipeline import open_console, selected, use_little_memory
    from protime_source.configuration import ConfigSections
    from protime_source.pipeline.failures import explain
    from protime_source.settings import Settings

    use_little_memory()
    with open_console(in_place=False) as console:
        try:
            check_arguments(arguments)
            check_installed("webhooks", "uvicorn", "starlette")
            sections = ConfigSections(pipeline_name=arguments.pipeline)
            settings = Settings.from_config(sections=sections, **selected(arguments))
            return listen(arguments, settings, console)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error)
            console.fail(failure.message, failure.exit_code)
            return failure.exit_code


def check_arguments(arguments: argparse.Namespace) -> None:
    """Checks what argparse does not.

    Raises:
        SettingsError: When an argument is wrong.
    """
    from protime_source.settings import invalid_setting

    try:
        parts = urlsplit(arguments.url)
        is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        is_url = bool(parts.hostname) and (parts.scheme == "https" or is_here) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\s@?#\\]", arguments.url):
        shown = re.sub(r"[^/]*@", "***@", arguments.url.partition("?")[0])
        wanted = "an https:// address without user and query; http:// is only for this machine"
        raise invalid_setting("--url", shown, wanted)
    if not 0 <= arguments.port <= 65535:
        raise invalid_setting("--port", arguments.port, "a TCP port")
    if not 0 < arguments.every <= MAX_INTERVAL_MINUTES:
        wanted = f"minutes, more than 0 and at most {MAX_INTERVAL_MINUTES:,}, which is two days"
        raise invalid_setting("--every", arguments.every, wanted)
    if not 0 <= arguments.pause < float("inf"):
        raise invalid_setting("--pause", arguments.pause, "a number of seconds from 0")


def listen(arguments: argparse.Namespace, settings: Settings, console: Console) -> int:
    """Listens, or removes the webhooks, and returns the exit code."""
    if arguments.remove:
        return remove(arguments, settings, console)
    with open_listener(arguments, settings, console) as listener:
        failure = listener.listen()
    if failure is None:
        return 0
    console.fail(failure.message, failure.exit_code)
    return failure.exit_code


def remove(arguments: argparse.Namespace, settings: Settings, console: Console) -> int:
    """Deletes the webhooks below the address."""
    from protime_source.api.http import HttpClient
    from protime_source.pipeline.opening import working_dir
    from protime_source.webhooks.memory import Memory, one_listener
    from protime_source.webhooks.registration import Registration

    working = working_dir(arguments.pipeline)
    with one_listener(working), HttpClient(settings) as http:
        memory = Memory.of(working)
        count = Registration(http, settings.collections, arguments.url, memory).remove()
    noun = "webhook" if count == 1 else "webhooks"
    console.show(f"{count} {noun} below {arguments.url} deleted.")
    return 0


@contextmanager
def open_listener(
    arguments: argparse.Namespace, settings: Settings, console: Console
) -> Iterator[Listener]:
    """Opens a listener that loads with the pipeline which the arguments name."""
    from protime_source.api.http import HttpClient
    from protime_source.pipeline.folder import discard_if_damaged
    from protime_source.pipeline.load import load_with
    from protime_source.pipeline.lock import one_run
    from protime_source.pipeline.opening import open_pipeline, pipelines_dir, working_dir
    from protime_source.settings import __version__
    from protime_source.webhooks.listener import Listener
    from protime_source.webhooks.memory import Memory, one_listener
    from protime_source.webhooks.registration import Registration

    name, dataset = arguments.pipeline, arguments.dataset
    folder, working = pipelines_dir(name), working_dir(name)

    def load(due: Due) -> Summary:
        console.begin(due.tables, pipeline=name, dataset=dataset, package_version=__version__)
        with one_run(working):
            discard_if_damaged(working)
            # A new one each time, because only that reads the state which another machine may
            # have committed meanwhile.
            pipeline = open_pipeline(name, folder, arguments.destination, dataset)
            of_run = replace(settings, collections=due.tables)
            return load_with(pipeline, of_run, http, is_short=due.cause == "webhook")

    with one_listener(working), HttpClient(settings) as http:
        memory = Memory.of(working)
        yield Listener(
            settings.collections,
            load,
            Registration(http, settings.collections, arguments.url, memory),
            memory,
            every=60 * arguments.every,
            pause=arguments.pause,
            host=arguments.host,
            port=arguments.port,
        )
