"""What does it cost to initialise many new tokens, beside the matrix product that no exact search can do without?

100,000 new tokens against 250,000 source tokens with 200-wide vectors, 10 neighbours: the whole plan of OFA (unit
vectors, neighbours, weights) and rows made by it out of a table of coordinates, against the plain product of the two
matrices of vectors, computed tile by tile into one buffer. In turn in one process; wall time and processor time. Peak
memory is the kernel's own account of that process, which holds the vectors, the table and the rows as well.

The vectors are of 2,000 topics with noise, so that neighbours are near as in real spaces; real cosines are not needed,
as the work hardly depends on them. Then, once and in a process of its own, a table of 250,000 x 768 is factorised.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed import ofa_svd
from eval.speed.harness import finish, median
from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.material import Material, Space
from polycompress.embeddings.initialising.neighbours import SOURCE_BLOCK, TARGET_BLOCK
from polycompress.embeddings.initialising.plans import Rule, copies
from polycompress.embeddings.initialising.registry import INITIALISERS, plan_rows

TARGETS, SOURCES, WIDTH, RANK = 100_000, 250_000, 200, 100
TOPICS = 2000
FACTORISATION = "seconds of a table's factorisation"
WANTED = {"wall": "<= 2.0", "processor": "<= 2.0", "peak memory in GB": "<= 2.0", FACTORISATION: "<= 60"}

Vectors = NDArray[np.float32]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often both are measured, in turn")
    parser.add_argument("--targets", type=int, default=TARGETS, help="new tokens")
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    asked = parser.parse_args()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(measure, asked.targets, asked.rounds).result()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        factorised = pool.submit(ofa_svd.measure).result()
    ratios = {**found.pop("ratios"), FACTORISATION: factorised["svd_seconds"]}
    finish("ofa-speed", ratios, WANTED, asked.out, **found, factorisation=factorised)


def measure(targets: int, rounds: int) -> dict[str, Any]:
    """Seconds of both ways, their ratios, and the most memory that this process ever had."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((TOPICS, WIDTH), dtype=np.float32)
    source, target = vectors(draw, centres, SOURCES), vectors(draw, centres, targets)
    table = draw.standard_normal((SOURCES, RANK), dtype=np.float32)
    everything = np.ones(SOURCES, dtype=np.bool_)
    material = Material(
        matched=copies(
            np.full(targets, Rule.SAMPLED, dtype=np.uint8), np.full(targets, -1, dtype=np.int32), everything
        ),
        textual=everything,
        source=Space(vectors=source, covered=everything),
        target=Space(vectors=target, covered=np.ones(targets, dtype=np.bool_)),
    )
    ways: dict[str, Callable[[], object]] = {
        "product": lambda: product(target, source),
        "initialise": lambda: apply_plan(plan_rows(INITIALISERS["ofa"], material), table, seed=0),
    }
    clocks: dict[str, dict[str, list[float]]] = {way: {"wall": [], "processor": []} for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            clocks[way]["wall"].append(time.perf_counter() - wall)
            clocks[way]["processor"].append(time.process_time() - processor)
    seconds = {way: {clock: median(values) for clock, values in own.items()} for way, own in clocks.items()}
    ratios = {
        clock: median(
            [
                ours / plain
                for ours, plain in zip(clocks["initialise"][clock], clocks["product"][clock], strict=True)
            ]
        )
        for clock in ("wall", "processor")
    }
    return {
        "ratios": {**ratios, "peak memory in GB": peak_bytes() / 1e9},
        "unit": "times the plain product; medians",
        "rounds": rounds,
        "shape": {"targets": targets, "sources": SOURCES, "width": WIDTH, "neighbours": 10, "rank": RANK},
        "seconds": seconds,
        "gigaflops_of_the_product": 2e-9 * targets * SOURCES * WIDTH / seconds["product"]["wall"],
    }


def vectors(draw: np.random.Generator, centres: Vectors, count: int) -> Vectors:
    """Topics with noise."""
    made = draw.standard_normal((count, WIDTH), dtype=np.float32)
    made += centres[draw.integers(0, len(centres), count)]
    return made


def product(left: Vectors, right: Vectors) -> None:
    """All products of rows, tile by tile; nobody reads them."""
    buffer = np.empty(TARGET_BLOCK * SOURCE_BLOCK, dtype=np.float32)
    for row in range(0, len(left), TARGET_BLOCK):
        block = left[row : row + TARGET_BLOCK]
        for column in range(0, len(right), SOURCE_BLOCK):
            tile = right[column : column + SOURCE_BLOCK]
            np.matmul(block, tile.T, out=buffer[: len(block) * len(tile)].reshape(len(block), len(tile)))


def peak_bytes() -> int:
    """The most memory this process ever had, by the kernel's account (ru_maxrss remembers the parent's)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise SystemExit("no VmHWM in /proc/self/status: run this on Linux")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
