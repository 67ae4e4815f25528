"""What the documentation shows works as shown."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import README, ROOT, Block, all_blocks, blocks, commands, pages

_OUTPUT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_NEXT = "\x1e"


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch):
    """Commands are found as in an activated environment; nothing of this test run is inherited."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)


def _run(command: list[str | Path], directory: Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options
    )


def _pytest(directory: Path, *arguments: str) -> None:
    result = _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments], directory)
    assert result.returncode == 0, result.stdout


def _is_installed(program: str | None) -> bool:
    """Where CI=true every program, and every header, is to be there."""
    if program is None or shutil.which(program) or Path("/usr/include", program).exists():
        return True
    assert os.environ.get("CI") != "true", f"{program} is not installed"
    return False


@pytest.mark.parametrize(
    "page", [README, *sorted({block.page for block in all_blocks() if block.language == "console"})], ids=_name
)
def test_commands_of_page(page, tmp_path):
    """They run one after the other in one shell, beside the page's files; output that is shown is checked."""
    for block in blocks(page):
        if title := block.option("title"):
            assert not (tmp_path / title).exists(), f"{block}: {title} is there twice"
            (tmp_path / title).write_text(block.text)
        if path := block.option("with"):
            shutil.copy(ROOT / path, tmp_path)
    console = [block for block in blocks(page) if block.language == "console"]
    shown = [command for block in console if _is_installed(block.option("needs")) for command in commands(block)]
    script = "".join(
        f"{command.text}\nset -- $?; printf '{_NEXT}%d{_NEXT}' $1; [ $1 = {command.status} ] || exit\n"
        for command in shown
    )
    answers = _run(["bash", "-c", script], tmp_path, stdin=subprocess.DEVNULL).stdout.split(_NEXT)
    for command, output, status in zip(shown, answers[0::2], [*answers[1::2], "none"], strict=False):
        where = f"{page.relative_to(ROOT)}:{command.line}: $ {command.text}\n{output}"
        assert status == command.status, f"exit status {status}: {where}"
        if command.output:
            assert doctest.OutputChecker().check_output(command.output, output, _OUTPUT), where


def _marked(mark: str) -> list[Block]:
    return [block for block in all_blocks() if block.language == "python" and block.mark == mark]


@pytest.mark.parametrize("block", _marked("run"), ids=str)
def test_program(block, tmp_path):
    (tmp_path / "program.py").write_text(block.text)
    result = _run([sys.executable, "-W", "error", "program.py"], tmp_path)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("block", _marked("pytest"), ids=str)
def test_module(block, tmp_path):
    (tmp_path / "test_block.py").write_text(block.text)
    _pytest(tmp_path, "--strict-markers", "-W", "error")


def test_every_python_block_is_run():
    idle = [
        str(b)
        for b in all_blocks()
        if b.language == "python" and b.mark not in ("run", "pytest") and not b.option("title")
    ]
    assert not idle


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "examples").glob("*/test_*.py")))
def test_example(name, tmp_path):
    shutil.copytree(ROOT / "examples" / name, tmp_path / name)
    _pytest(tmp_path / name, "-W", "error")


@pytest.mark.parametrize("page", [README, *pages()], ids=_name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), f"{target}: no such file"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}, target
