"""The command line. One module per command group, imported only when its command is asked for.

Each module holds `app`, a `typer.Typer`; heavy imports stand inside its functions: help and `version` stay quick.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from voxtell_dicom import __version__
from voxtell_dicom.errors import ConfigError, ModelError, Refusal, UnknownPrompt, VoxtellDicomError

# In the order of the help page. A name is the command's; the module is voxtell_dicom.cli.NAME.
COMMANDS = (
    "demo",
    "init",
    "check",
    "serve",
    "health",
    "jobs",
    "archive",
    "database",
    "rules",
    "segment",
    "predict",
    "inspect",
    "verify",
    "look",
    "terms",
    "model",
    "phantom",
    "version",
)

BAD_INPUT = (ConfigError, ModelError, Refusal, UnknownPrompt)  # exit code 2; every other error of ours is 1


_UsageError: Any = typer.BadParameter.__base__  # Typer has no public name for it


@contextmanager
def _usage_in_one_line(ctx: Any) -> Iterator[None]:
    """Say what is wrong with the words of a command as all errors are said, instead of in a box; exit code 2."""
    try:
        yield
    except _UsageError as error:
        if not error.format_message() or "\n" in error.format_message():  # no words at all: the help is shown
            raise
        path = (error.ctx or ctx).command_path
        typer.echo(f"voxtell-dicom: {error.format_message().rstrip('.')}; see `{path} -h`", err=True)
        raise typer.Exit(2) from None


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is needed; turns our errors into one line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """All names, in the order of the help page."""
        return [name for name in COMMANDS if importlib.util.find_spec(f"{__name__}.{name}")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, from its module; None where there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(f"{__name__}.{cmd_name}").app)
        command.name = cmd_name
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command."""
        with _usage_in_one_line(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run; exit codes by contracts § 9: 0 done, 1 failed, 2 bad usage or input."""
        try:
            with _usage_in_one_line(ctx):
                return super().invoke(ctx)
        except VoxtellDicomError as error:
            typer.echo(f"voxtell-dicom: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, BAD_INPUT) else 1) from None


app = typer.Typer(
    cls=LazyGroup,
    help="A DICOM node for free-text 3-D segmentation with VoxTell. Research use, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # rich tracebacks print local variables: patient data
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"voxtell-dicom {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A DICOM node for free-text 3-D segmentation with VoxTell. Research use, not a medical device."""


def fail(message: str) -> typer.Exit:
    """Say on one line of stderr what failed; raise what comes back: ``raise fail("…")``. Exit code 1."""
    sys.stdout.flush()
    typer.echo(f"voxtell-dicom: {message}", err=True)
    return typer.Exit(1)
