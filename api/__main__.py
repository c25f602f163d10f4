"""The `courtyard` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ingest.document import DocumentError

app = typer.Typer(
    name="courtyard",
    help="Watches over the shared equipment of residential communities.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path, typer.Option("--config", exists=True, dir_okay=False)]
RegistryFile = Annotated[
    Path | None,
    typer.Option("--registry", exists=True, dir_okay=False, help="a site's YAML; none: any device"),
]


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


def main() -> None:
    """Runs the command; a mistake of the user's ends in one clear line and exit code 1."""
    try:
        app()
    except (DocumentError, LookupError, ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        text = error.args[0] if isinstance(error, LookupError) and error.args else error
        sys.stderr.write(f"courtyard: {text}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
