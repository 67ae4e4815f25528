"""Ends the programs of an explorer that is killed, and removes what it had no time to remove."""

from __future__ import annotations

import os
import subprocess

__all__ = ["Reaper"]

_VARIABLE = "DAXEMU_CRASH_EXPLORER"

# $0 is what a program has in its environment, $1 a directory. Input ends with the explorer, and with the child that it
# was about to start one in: no other begins from then on. A program may start more while it is looked for.
_SCRIPT = """
trap '' HUP INT QUIT TERM
read -r _ && exit
for _ in 1 2 3; do
    for found in $(grep -Fls -e "$0" /proc/[0-9]*/environ); do
        found=${found#/proc/}
        kill -KILL "${found%/environ}"
    done
done 2>/dev/null
test -z "$1" || rm -rf -- "$1"
"""


class Reaper:
    """A process that waits for the end of this one, even by SIGKILL. A context manager; a regular end is the context's.

    Programs that have ``environment`` in theirs are ended then, and what they have started; ``directory`` is removed.
    """

    def __init__(self, directory: str = "") -> None:
        mark = f"{_VARIABLE}={os.getpid()}.{os.urandom(8).hex()}"
        self.environment = dict([mark.split("=")])
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, mark, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def __enter__(self) -> Reaper:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(b"\n")
