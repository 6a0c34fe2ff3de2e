"""Commands in children of a process that has imported the program already, each held to a time and to a memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

REPOSITORY = Path(__file__).resolve().parents[2]
ADDRESS_SPACE = 3 << 30
"""Bytes that a command may map beyond what the program has mapped: it guards the machine. What a command may *use* is
judged afterwards, by the operating system's account of its largest resident size."""
LIGHT = (
    "rich.console", "rich.table", "tokenizers", "yaml", "orjson", "langcodes", "wordfreq",
    "polycompress.cli.inspect_view",
    "polycompress.pipelines.trim", "polycompress.pipelines.inspect", "polycompress.pipelines.verify",
    "polycompress.pipelines.plan", "polycompress.pipelines.count", "polycompress.pipelines.run",
    "polycompress.pipelines.moe_upcycle", "polycompress.evaluation.tasks", "polycompress.report.run",
    "polycompress.report.results",
)  # fmt: skip
"""What commands without torch import."""
TORCH = (
    *LIGHT,
    "accelerate",
    "transformers.models.xlm_roberta.modeling_xlm_roberta",
    "polycompress.pipelines.evaluate",
    "polycompress.pipelines.evaluate_into",
    "polycompress.pipelines.export",
    "polycompress.pipelines.distil",
)
"""What commands that train or judge import."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Exit code, or minus the number of the signal that ended it.
        on_time: Whether it ended by itself within its seconds.
        seconds: Of the clock.
        cpu_seconds: Of processors, its children's not counted.
        peak_bytes: Largest resident size, what it shares with the process that it came from counted.
        output: What it printed, both streams.
    """

    code: int
    on_time: bool
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


class Warm:
    """A process of ``warm_program.py``.

    Args:
        log: File that takes what each command prints, in turn.
        imports: Modules to import before the first command.
        variables: Of the environment, over this process's.
    """

    def __init__(
        self, log: Path, imports: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eval.reliability.warm_program", *imports],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TOKENIZERS_PARALLELISM": "false", **(variables or {})},
        )  # fmt: skip
        assert self._line() == "ready\n"

    def __enter__(self) -> Warm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        seconds: float,
        variables: Mapping[str, str] | None = None,
    ) -> Ending:
        """Run one command.

        Args:
            arguments: After the program's name.
            cwd: Its working directory.
            seconds: After which it is killed.
            variables: Of its environment, over the process's.
        """
        assert self._process.stdin is not None
        asked = {
            "arguments": list(arguments), "cwd": str(cwd), "seconds": seconds, "log": str(self._log),
            "variables": dict(variables or {}), "address_space": ADDRESS_SPACE,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._line())
        return Ending(**answer, output=self._log.read_text(encoding="utf-8", errors="replace"))

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that starts commands is gone; it printed to {self._log}")
        return line
