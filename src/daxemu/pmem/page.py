"""The report as one page of HTML that needs nothing else: what failed, and when which line was on its way."""

from __future__ import annotations

import shlex
from html import escape
from typing import TYPE_CHECKING

from daxemu.pmem.report import again_command, failure_text, finding_texts, summary
from daxemu.pmem.sites import Sites
from daxemu.pmem.timeline import STYLE, legend, timeline

if TYPE_CHECKING:
    from daxemu.pmem.exploration import Exploration
    from daxemu.pmem.reader import Recording

__all__ = ["report_page"]

_FAILURES = 50  # more than this nobody can look at

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; background: #fff; overflow-wrap: anywhere }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto }
.scroll { overflow-x: auto; border: 1px solid #8888 } .legend span { white-space: nowrap; margin-right: 1em }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #262626 } }
"""


def report_page(result: Exploration, recording: Recording) -> str:
    """Return the page."""
    sites = Sites(recording.modules, recording.site_names)
    failures = result.failures[:_FAILURES]
    blocks = "".join(
        f"<pre>{escape(chr(10).join(failure_text(failure, sites, again_command(result, failure))))}</pre>"
        for failure in failures
    )
    findings = escape("\n".join(finding_texts(result.findings, sites)))
    recorded = shlex.join(recording.command) or str(recording.path)
    return (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8>"
        f"<title>Crash states of {escape(str(recording.path))}</title><style>{_STYLE}{STYLE}</style>"
        f"<h1>{escape(summary(result))}</h1>"
        f"<p><code>{escape(recorded)}</code>, checked by <code>{escape(result.check)}</code></p>"
        f"<h2>Events and lines</h2>{legend()}<div class=scroll>{timeline(recording, failures, sites)}</div>"
        f"{'<h2>Failing states</h2>' + blocks if blocks else ''}"
        f"{'<h2>Findings</h2><pre>' + findings + '</pre>' if findings else ''}</html>\n"
    )
