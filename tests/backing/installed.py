"""Plugins as pip would have installed them."""

from pathlib import Path


def install(directory: Path, name: str, version: str, source: str) -> None:
    """Put a distribution with one module and the entry point ``daxemu`` into a directory of sys.path."""
    module = f"plugin_{name}"
    (directory / f"{module}.py").write_text(source)
    info = directory / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[daxemu]\n{name} = {module}\n")
