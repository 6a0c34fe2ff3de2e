"""What every speed script shares: measured processes, medians, and the one JSON object that ends the output."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polycompress.evaluation.provenance import machine, versions


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One finished process."""

    cpu_seconds: float
    wall_seconds: float
    peak_mib: float
    stdout: str


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run a process to its end and read the operating system's own account of it.

    Raises:
        RuntimeError: It failed; its error output is in the message.
    """
    started = os.times().elapsed
    process = subprocess.Popen(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{stderr}")
    return Run(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=os.times().elapsed - started,
        peak_mib=usage.ru_maxrss / 1024,
        stdout=stdout,
    )


def python(code: str, *arguments: str) -> Run:
    """Run a piece of Python in a process of its own."""
    return run([sys.executable, "-c", code, *arguments])


def median(values: Sequence[float]) -> float:
    """The median, to four digits."""
    return float(f"{statistics.median(values):.4g}")


def arguments(description: str, rounds: int) -> argparse.Namespace:
    """The arguments that all scripts take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="how often everything is measured, in turn"
    )
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    return parser.parse_args()


def data_directory(given: Path | None) -> Path:
    """Where the texts are.

    Raises:
        SystemExit: Nowhere.
    """
    root = Path(__file__).resolve().parents[2]
    path = given or Path(os.environ.get("POLYCOMPRESS_DATA", root.parent / "shared" / "data"))
    if not path.is_dir():
        raise SystemExit(f"no data at {path}: give --data DIR or set POLYCOMPRESS_DATA")
    return path


def finish(
    name: str, ratios: Mapping[str, float | None], wanted: Mapping[str, str], out: Path | None, **more: Any
) -> None:
    """Print the result as the last line, and keep it where asked."""
    result = {
        "name": name,
        "ratios": dict(ratios),
        "wanted": dict(wanted),
        "met": {key: _met(ratios.get(key), bound) for key, bound in wanted.items()},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
        **more,
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.json").write_text(
            json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")


def _met(value: float | None, bound: str) -> bool | None:
    if value is None:
        return None
    sign, limit = bound.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)
