"""``python -m daxemu``: the command where the script is not in PATH."""

from daxemu.cli import main

main()
