"""The command `xseg`. Each subcommand has one file with its arguments and its run; heavy imports stand in the run.

Exit codes: 0 success, 1 error, 2 wrong usage, 3 faults in checked data, 143 stopped by SIGTERM with a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from xseg import __version__
from xseg.cli import benchmark, config, data, eval, eval_json, export, plan, predict, study, train, weights

COMMANDS = (
    train,
    plan,
    eval,
    eval_json,
    predict,
    export,
    data,
    config,
    weights,
    benchmark,
    study,
)  # as --help lists them


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.traceback:
        return arguments.run(arguments)
    try:
        return arguments.run(arguments)
    except BrokenPipeError:  # `xseg … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, KeyError, OSError, ModuleNotFoundError, FloatingPointError) as error:
        print(f"xseg: error: {message_of(error)}", file=sys.stderr)
        print("xseg: `xseg --traceback COMMAND …` shows the traceback", file=sys.stderr)
        return 1


def message_of(error: Exception) -> str:
    """The message of an error, without the traceback that a data loader's worker puts in front of it."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Original Traceback" in message:
        message = message.rpartition(f"\n{type(error).__name__}: ")[2].strip()
    return message


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xseg", description="Dense prediction with aligned Xception backbones.")
    parser.add_argument("--version", action="version", version=f"xseg {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
