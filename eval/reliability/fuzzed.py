"""Thousands of damaged inputs, counted."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from eval.reliability.fuzzing import Bench, Outcome, described
from eval.reliability.judging import PEAK_BYTES, SECONDS
from eval.reliability.outcome import Found
from eval.reliability.subjects import SUBJECTS, Subject

logger = logging.getLogger(__name__)
KINDS: Final = ("done", "refused", "failed", "out of memory", "faulty")


def measure(
    room: Path,
    stock: Path,
    *,
    numbers: Iterable[int],
    seed: int,
    workers: int = 1,
    subjects: Sequence[Subject] = SUBJECTS,
    keep: Path | None = None,
    seconds: float = math.inf,
) -> Found:
    """Run cases, several at once, and count how they ended.

    Args:
        room: Where they run.
        stock: The larder's directory.
        numbers: Of the cases.
        seed: Of all draws.
        workers: Cases at once.
        subjects: To draw from.
        keep: Directory that gets what faulty cases read, if anything shall be kept.
        seconds: After which no further case is begun.
    """
    wanted = deque(numbers)
    end = time.monotonic() + seconds

    def share(worker: int) -> list[Outcome]:
        outcomes = []
        with Bench(stock, room / str(worker) / "room", seed, keep) as bench:
            while wanted and time.monotonic() < end:
                try:
                    number = wanted.popleft()
                except IndexError:  # another worker was faster
                    break
                outcomes.append(bench.run(number, subjects))
                logger.info("case %d: %s", number, outcomes[-1].kind)
        return outcomes

    with ThreadPoolExecutor(workers) as pool:
        outcomes = [outcome for part in pool.map(share, range(workers)) for outcome in part]
    return counted(outcomes)


def counted(outcomes: Sequence[Outcome]) -> Found:
    """Figures by subject and together, and every faulty case."""
    found = Found()
    for subject in sorted({outcome.case.subject.name for outcome in outcomes}):
        found.figures[subject] = _row([each for each in outcomes if each.case.subject.name == subject])
    found.figures["all"] = _row(outcomes)
    found.figures["limits"] = {"seconds of processors": SECONDS, "bytes of memory": PEAK_BYTES}
    found.faults = [
        described(outcome)
        for outcome in sorted(outcomes, key=lambda each: each.case.number)
        if outcome.faults
    ]
    return found


def _row(outcomes: Sequence[Outcome]) -> dict[str, float | int]:
    kinds = Counter(outcome.kind for outcome in outcomes)
    return {
        "cases": len(outcomes),
        **{kind: kinds[kind] for kind in KINDS},
        "most seconds of processors": round(max(outcome.ending.cpu_seconds for outcome in outcomes), 2),
        "most MB": round(max(outcome.ending.peak_bytes for outcome in outcomes) / 1e6),
    }
