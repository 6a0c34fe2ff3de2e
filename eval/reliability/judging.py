"""What is wrong with how a command on a damaged input ended."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from eval.reliability.warm import Ending

SECONDS: Final = 10.0
"""Of processors, for each case."""
PATIENCE: Final = 60.0
"""Seconds of the clock after which a case is killed: what waits for ever uses no processor, and on a machine that does
other work too a second of a processor may take several of the clock."""
PEAK_BYTES: Final = 10**9
"""Of memory, for each case."""
PRINTED: Final = 100_000
"""Characters that a refusal may have."""


def faults_of(ending: Ending, desk: Path) -> list[str]:
    """What is wrong with how a command ended, of what its ending and the directory that it wrote to show."""
    found = []
    if not ending.on_time:
        found.append(f"not done after {PATIENCE:g} seconds")
    elif ending.code < 0:
        found.append(f"ended by signal {-ending.code}")
    elif ending.code not in (0, 1, 2):
        found.append(f"exit code {ending.code}")
    if ending.cpu_seconds > SECONDS:
        found.append(f"{ending.cpu_seconds:.1f} seconds of processors")
    if "Traceback (most recent call last)" in ending.output:
        found.append(f"a traceback: {ending.output.rstrip().splitlines()[-1][:200]}")
    if ending.peak_bytes > PEAK_BYTES:
        found.append(f"{ending.peak_bytes / 1e9:.2f} GB of memory")
    if ending.code and len(ending.output) > PRINTED:
        found.append(f"{len(ending.output)} characters printed")
    if ending.code in (1, 2) and not re.search(r"(?im)^(error|usage:| usage:|.*╭─ error)", ending.output):
        found.append("no message")
    if ending.code and ending.on_time:
        found += [f"left behind: {name}" for name in ("out", "out.html", "out.npz") if (desk / name).exists()]
    page = desk / "out.html"
    if page.exists() and (runs := live_markup(page.read_text("utf-8"))):
        found.append(f"the page holds {runs}")
    return found


class _Live(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        self.found += [f"<{tag} {name}>" for name, _ in attrs if name.startswith("on")]
        self.found += [
            f"<{tag} src>"
            for name, value in attrs
            if name in ("src", "href") and not (value or "").startswith(("#", "data:"))
        ]

    def handle_data(self, data: str) -> None:
        if self._script and "alert(1)" in data:
            self.found.append("<script>")


def live_markup(page: str) -> list[str]:
    """What a page would run or load that is not its own."""
    parser = _Live()
    parser.feed(page)
    parser.close()
    return parser.found
