"""Code blocks of the documentation.

What is done with a block stands behind its language:
``python run`` is a program, ``python pytest`` a test module, ``LANGUAGE title=NAME`` a file that
the page's ``console`` blocks use; ``console with=PATH`` uses one of the project's. ``console needs=PROGRAM``, or a
header, is left out without that; the last command of ``console status=N`` ends with that exit status.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def option(self, name: str) -> str | None:
        """The value of ``name=value`` in the mark."""
        return next((word.split("=", 1)[1] for word in self.mark.split() if word.startswith(f"{name}=")), None)


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


@cache
def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2].strip(), found[3])
        for found in _BLOCK.finditer(text)
    ]


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


@dataclass(frozen=True)
class Command:
    """One ``$ `` line, with its ``> `` lines, and the output shown below it."""

    line: int
    text: str
    output: str
    status: str = "0"


def commands(block: Block) -> list[Command]:
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append(Command(number, line[2:], ""))
        elif found and line.startswith("> ") and not found[-1].output:
            found[-1] = replace(found[-1], text=f"{found[-1].text}\n{line[2:]}")
        else:
            assert found, f"{block}: output without a command"
            found[-1] = replace(found[-1], output=f"{found[-1].output}{line}\n")
    if found:
        found[-1] = replace(found[-1], status=block.option("status") or "0")
    return found
