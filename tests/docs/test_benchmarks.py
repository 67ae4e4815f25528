"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import require
from tests.docs.pages import ROOT


def test_benchmarks_run_and_report():
    require("gcc")
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "--quick", "--json", "start", "revoke"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout, result.stderr
    rows = json.loads(result.stdout)
    assert {row["name"] for row in rows} == {"start", "revoke"}
    assert all(row["value"] > 0 for row in rows if row["name"] == "revoke")
