"""What tables of README.md are made of: recorded results, and markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"


def load(name: str) -> Any:
    """A recorded result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its header."""
    line = ["---", *("---:" for _ in rows[0][1:])]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], line, *rows[1:]))


def ratios(name: str) -> list[list[str]]:
    """Each ratio of a result beside its bound; nothing where there is no result."""
    if not (RESULTS / f"{name}.json").exists():
        return []
    found = load(name)
    rows = []
    for what, value in found["ratios"].items():
        bound = found["wanted"].get(what, "")
        rows.append(
            [
                what,
                "not measured" if value is None else f"{value:.2f}",
                bound.replace("<=", "at most").replace(">=", "at least"),
            ]
        )
    return rows


def mean_score(values: list[float] | None) -> str:
    """The mean of some scores, or a dash."""
    return f"{sum(values) / len(values):.3f}" if values else "–"
