"""The `courtyard` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ingest.clock import parse_duration_s
from ingest.document import DocumentError

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="courtyard",
    help="Watches over the shared equipment of residential communities.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)
rules = typer.Typer(help="Rulebooks: check, schema, replay.", no_args_is_help=True)
app.add_typer(rules, name="rules")
simulation = typer.Typer(help="A community that does not exist.", invoke_without_command=True)
app.add_typer(simulation, name="simulate")

ConfigFile = Annotated[
    Path, typer.Option("--config", exists=True, dir_okay=False, help="the settings, TOML")
]
RegistryFile = Annotated[
    Path | None,
    typer.Option("--registry", exists=True, dir_okay=False, help="a site's YAML; none: any device"),
]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


def _duration(text: str) -> int:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def run(config: ConfigFile) -> None:
    """The service: watch, respond and serve under one supervisor."""
    from api.commands import service

    service.run(config)


@app.command()
def watch(config: ConfigFile, supervised: Supervised = False) -> None:
    """Ingest and rules alone."""
    from api.commands import service

    service.run_process("watch", config, supervised=supervised)


@app.command()
def respond(config: ConfigFile, supervised: Supervised = False) -> None:
    """Notices alone."""
    from api.commands import service

    service.run_process("respond", config, supervised=supervised)


@app.command()
def serve(config: ConfigFile, supervised: Supervised = False) -> None:
    """API and pages alone."""
    from api.commands import service

    service.run_process("serve", config, supervised=supervised)


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="of the page")] = 8080,
    folder: Annotated[
        Path | None, typer.Option("--dir", file_okay=False, help="keep the data here")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=600, help="service seconds a second")] = 30,
    duration: Annotated[
        str | None, typer.Option(help="end after so much wall time, as 90s or 10m")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser")] = True,
    seed: int = 1,
) -> None:
    """The whole service with a simulated community; no account, server or configuration."""
    from api.commands.demo import Demo, run_demo

    seconds = None if duration is None else _duration(duration)
    run_demo(Demo(port, folder, speed, seconds, browser, seed))


@app.command("demo-broker", hidden=True)
def demo_broker(port: Annotated[int, typer.Option()], supervised: Supervised = False) -> None:
    """The demo's broker."""
    from api.commands.broker import run_broker
    from api.shutdown import stop_event

    run_broker(port, stop_event(supervised=supervised))


@app.command()
def decode(
    dialect: Annotated[str, typer.Option(help="a dialect, or a shipped profile")],
    registry: RegistryFile = None,
) -> None:
    """Decode recorded messages: NDJSON on stdin, one object a line on stdout."""
    from api.commands.decode import decode_lines
    from ingest.site import read_registry

    known = None if registry is None else read_registry(registry)
    for line in decode_lines(sys.stdin.buffer, dialect, known):
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


@rules.command("check")
def rules_check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a rulebook, YAML")],
) -> None:
    """Say what is wrong with a rulebook: file:line:column path message."""
    from api.commands.rules import check

    raise typer.Exit(check(file))


@rules.command("schema")
def rules_schema() -> None:
    """The JSON Schema of a rulebook, for editors."""
    from api.commands.rules import schema

    sys.stdout.write(schema())


@rules.command("replay")
def rules_replay(
    rulebook: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="none: the shipped one")
    ] = None,
    readings: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="long CSV or Parquet")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="stored history from, ISO 8601")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="stored history to, ISO 8601")] = None,
    registry: RegistryFile = None,
    config: Annotated[Path | None, typer.Option("--config", exists=True, dir_okay=False)] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", exists=True, file_okay=False, help="a data folder")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="rows a step; the result is the same")] = 5_000,
    out: Annotated[Path | None, typer.Option(help="none: stdout")] = None,
) -> None:
    """The engine over recorded readings or stored history: one line an episode."""
    from api.commands.rules import Asked, replay

    replay(Asked(rulebook, readings, since, until, registry, config, folder, batch, out))


@simulation.callback()
def simulate(
    context: typer.Context,
    site: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="a site's YAML")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="mqtt://host:port")] = None,
    dialect: Annotated[str, typer.Option()] = "native",
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="service seconds a second; none: the service's")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="of service time, as 2h; none: for ever")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="CODE@DEVICE@T; T is ISO 8601, or +2h from the start")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="what was planted, NDJSON")] = None,
    seed: int = 1,
    dirty: Annotated[float, typer.Option(min=0, max=1, help="share of dirty stairwells")] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet")] = False,
    wait: Annotated[bool, typer.Option("--wait", hidden=True)] = False,
    supervised: Supervised = False,
) -> None:
    """Publish a simulated community to a broker."""
    if context.invoked_subcommand is not None:
        return
    if site is None or broker is None:
        raise typer.BadParameter("--site and --broker are needed", context)
    from api.commands.simulate import Wanted, run_simulation

    seconds = None if duration is None else _duration(duration)
    run_simulation(
        Wanted(site, broker, dialect, speed, seconds, tuple(fault or ()), truth, seed, dirty),
        quiet=quiet,
        wait=wait,
        supervised=supervised,
    )


@simulation.command("score")
def simulate_score(
    truth: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    alerts: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    site: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="says what a gateway covers")
    ] = None,
) -> None:
    """Match planted faults with alerts (both NDJSON): found, missed, false, delay."""
    from api.commands.simulate import score_text

    sys.stdout.write(score_text(truth, alerts, site))


@app.command()
def evaluate(
    name: Annotated[str, typer.Argument(metavar="SET", help="a published protocol")],
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="the recordings")],
    predictions: Annotated[Path | None, typer.Option(exists=True, help="CSV file,row,flag")] = None,
    alerts: Annotated[Path | None, typer.Option(exists=True, help="NDJSON of rules replay")] = None,
    seed: int = 1,
) -> None:
    """Score the rules, or given predictions, on a published set of recordings."""
    from rules.evaluate import evaluate_set
    from rules.scoring.table import format_table

    table = evaluate_set(name, data, predictions=predictions, alerts=alerts, seed=seed)
    sys.stdout.write(format_table(table) + "\n")


def main() -> None:
    """Runs the command; a mistake of the user's ends in one clear message and exit code 1."""
    try:
        app()
    except BrokenPipeError:
        sys.exit(0)
    except (DocumentError, LookupError, ValueError, OSError) as error:
        text = error.args[0] if isinstance(error, LookupError) and error.args else error
        sys.stderr.write(f"courtyard: {text}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
