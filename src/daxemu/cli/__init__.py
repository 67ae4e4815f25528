"""The command ``daxemu``. Each command is a module, loaded when it is called."""

from __future__ import annotations

import gc
import io
import sys

from daxemu.errors import DaxemuError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "run": "Run a program with emulated devices.",
    "shell": "Start a shell where the devices are.",
    "serve": "Keep devices while programs come and go.",
    "list": "List the devices of running sessions.",
    "device": "Kill, unbind, unplug devices of a running session, and bring them back; record them, fail their power.",
    "reboot": "Power goes and comes back for all of a running session.",
    "region": "Add, unplug and replug regions of a running session.",
    "fault": "Have things fail in a running session.",
    "crash": "Find what a power failure may leave, and whether a program recovers from it.",
    "doctor": "Tell what this machine can do, and whether a program can be reached.",
    "plugins": "List plugins and backing stores.",
    "gc": "Remove what sessions left whose owner was killed.",
}


def main() -> None:
    """Entry point: errors are one line on stderr and exit status 2."""
    try:
        _run_simply(sys.argv[1:])
        from daxemu.cli._group import daxemu

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # names of files are any bytes, and printed as these
        daxemu(prog_name="daxemu")
    except DaxemuError as error:
        print(f"daxemu: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # 1 means something else to some commands
        print(f"daxemu: {f'{error.filename}: ' if error.filename else ''}{error.strerror}", file=sys.stderr)
        sys.exit(2)


def _run_simply(arguments: list[str]) -> None:
    """Run ``daxemu run`` without click, whose import takes longer than all the rest. Return what needs click."""
    if arguments[:1] != ["run"]:
        return
    gc.disable()  # nothing that a start makes is garbage; looking for some is a tenth of it
    from daxemu.cli._options import parse_simply
    from daxemu.cli.run import OPTIONS, run

    parsed = parse_simply(arguments[1:], OPTIONS)
    if parsed:
        values, cmd = parsed
        run(cmd, **values)
