"""`protime demo`: the main job against a demo tenant; `protime demo serve`: that tenant alone."""

from __future__ import annotations

import argparse
import signal

from protime_source.cli.arguments import Commands, Parser

DESCRIPTION = (
    "Shows the main job against a demo tenant: no account needed, nothing to set. A small Protime"
    " runs on this machine, and a pipeline follows it over real HTTP into `protime_demo.duckdb`: a"
    " first load, changes and deletes, an expired delta, all other collections."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "demo", help="see it work, without an account", description=DESCRIPTION
    )
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(
        title="commands", metavar="COMMAND", prog=parser.prog, parser_class=Parser
    )
    text = "run the demo tenant alone, until Ctrl-C"
    serving = actions.add_parser(
        "serve",
        help=text,
        description=f"{text[:1].upper()}{text[1:]}, and print the settings to reach it. Its rows"
        " change by themselves, so that each run has something to load.",
    )
    for name, kind, default, metavar, meaning in (
        ("--rows", int, 20_000, "NUMBER", "assignments at the start"),
        ("--seed", int, 1, "NUMBER", "seed of the data"),
        ("--port", int, 8123, "NUMBER", "TCP port; 0 takes a free one"),
        ("--churn-every", float, 30, "SECONDS", "between changes of some rows; 0 for none"),
    ):
        described = f"{meaning}. Default: {default}"
        serving.add_argument(name, type=kind, default=default, metavar=metavar, help=described)
    serving.set_defaults(run=serve)


def run(_: argparse.Namespace) -> int:
    """Plays the demo; returns 0 when the warehouse equals the tenant at the end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C just ends the story

    from protime_source.demo.story import play

    return play()


def serve(arguments: argparse.Namespace) -> int:
    """Serves a demo tenant until Ctrl-C."""
    # A shell starts background processes with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from protime_source.demo.serve import serve

    return serve(
        rows=arguments.rows,
        seed=arguments.seed,
        port=arguments.port,
        churn_every=arguments.churn_every,
    )
