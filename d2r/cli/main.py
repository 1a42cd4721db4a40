"""The ``d2r`` command: finds the sub-command, turns bad input into one line."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from d2r.cli.surroundings import complain, prepare, settle_output
from d2r.errors import UserError, nearest
from d2r.limits import refuse_shortage
from d2r.processes import ignore_current_folder

COMMANDS = {
    "train": "d2r.cli.train",
    "evaluate": "d2r.cli.evaluate",
    "plan": "d2r.cli.plan",
    "status": "d2r.cli.status",
    "methods": "d2r.cli.methods",
    "collect": "d2r.cli.collect",
    "tables": "d2r.cli.tables",
    "figures": "d2r.cli.figures",
    "report": "d2r.cli.report",
    "export": "d2r.cli.export",
    "compare": "d2r.cli.compare",
    "routes": "d2r.cli.routes",
    "watch": "d2r.cli.watch",
    "analyze": "d2r.cli.analyze",
    "release": "d2r.cli.release",
    "verify": "d2r.cli.verify",
    "bench": "d2r.cli.bench",
}
COLLECT_AFTER = 100_000
"""New objects after which Python looks for cycles. At its default a tenth of a start goes into looking through what
was imported, and stays."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing a usage text."""
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End after --help, once it is printed."""
        sys.stdout.flush()
        super().exit(status, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2 for bad input)."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    ignore_current_folder()
    try:
        prepare()
        return _run(argv)
    except UserError as error:
        complain(str(error))
        return error.status
    except BrokenPipeError:  # nobody reads any more, as with `| head`
        settle_output()
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - raised again unless a limit or a path explains it
        return _explained(error, argv)


def _explained(error: Exception, argv: list[str]) -> int:
    """Say in one line what limit or path an error comes from; raise it again if it is none of these, but a fault."""
    try:
        refuse_shortage(error)
    except UserError as shortage:
        complain(str(shortage))
        return shortage.status
    if not isinstance(error, OSError) or argv[0] == "train":  # a run says itself what it could not write
        raise error
    where = f"{error.filename}: " if error.filename is not None else ""
    complain(f"{where}{error.strerror or error}; give another path")
    return 2


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview(), flush=True)
        return 0
    if argv[0] == "--version":
        from d2r import __version__

        print(f"d2r {__version__}", flush=True)
        return 0
    gc.set_threshold(COLLECT_AFTER)
    module, arguments = parse(argv)
    status: int = module.run(arguments)
    sys.stdout.flush()
    return status


def parse(argv: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """The module of a command, and its arguments; nothing is run.

    Raises:
        UserError: if there is no such command, or it does not take these arguments.
    """
    name, *words = argv
    if name not in COMMANDS:
        raise UserError(f"unknown command '{name}'; {nearest(name, COMMANDS)}")
    module = importlib.import_module(COMMANDS[name])
    _refuse_repeats(name, words, getattr(module, "REPEATED", ()))
    parser = Parser(prog=f"d2r {name}", description=module.__doc__, allow_abbrev=False)
    module.add_arguments(parser)
    return module, parser.parse_args(words)


def _refuse_repeats(name: str, argv: list[str], may_repeat: Sequence[str]) -> None:
    """Refuse an option that is given twice: argparse would silently keep the last one."""
    options = [argument.partition("=")[0] for argument in argv if argument.startswith("--")]
    for option in options:
        if options.count(option) > 1 and option not in may_repeat:
            raise UserError(f"d2r {name}: {option} is given twice; give it once")


def _overview() -> str:
    lines = ["usage: d2r COMMAND [options]     (d2r COMMAND --help)", ""]
    for name, path in COMMANDS.items():
        lines.append(f"  {name:9s} {_first_line(importlib.import_module(path))}")
    return "\n".join(lines)


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
