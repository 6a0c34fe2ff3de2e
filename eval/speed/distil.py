"""Distillation, phase 1 of BiStil: the engine against a plain ``Trainer`` of transformers, in real tokens a second.

Both sides draw one teacher (the demo model, trimmed to English and Swahili, 12 layers) towards one student (6 of those
layers, dropout 0), on the same text, half of it of each language, with the same losses: mean squared errors of seven
hidden states and six attention maps. The engine has batches of texts of like length, attention that keeps no maps where
that is faster, maps of the matched layers alone, sparse gradients of the table and, in bf16, a teacher whose linear
weights were rounded once. The Trainer has what one gets by writing the losses down: eager attention with the maps of
all layers, random batches padded to their longest text, dense gradients. A batch of either side has at most 1,024
places, and a step so many batches that both have about as many real tokens. On a few batches both sides' losses are the
same, which is checked first.

Every measurement is a process of its own, with two threads; they take turns. Padding is not counted. Peak memory is
the system's account of such a process (VmHWM) after ten steps, weights and library included; it creeps up with every
new shape of batch, so both sides are asked after the same amount of text.

Usage: python eval/speed/distil.py --out eval/results/ [--rounds N] [--data DIR] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from eval.speed.distil_ours import Ours, make_batches, run_ours
from eval.speed.distil_room import LANGUAGES, Room, make_room
from eval.speed.distil_trainer import PlainTrainer, run_trainer
from eval.speed.harness import data_directory, finish, median, run

Precision = Literal["fp32", "bf16"]

LAYERS = 6
MAX_LENGTH = 128
TEXTS, BUDGET = 8, 1024
"""Of a batch: texts of the Trainer's, its default; and tokens of ours, padding included, which is as much as the
Trainer's largest has. Larger random batches pad more."""
ACCUMULATION = {"ours": 2, "Trainer": 8}
"""Batches of a step, so that both sides' steps have about as many real tokens."""
WARM_UP = 3
"""Steps before the clock starts."""
CHECKED = 4
"""Batches on which the losses are compared."""
TOLERANCES: dict[Precision, float] = {"fp32": 1e-5, "bf16": 2e-3}
"""Of the two losses of a batch, relative. In bf16 the sides round at other places: eager attention rounds its maps."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is measured."""

    is_ours: bool
    precision: Precision
    steps: int
    """In all: about 20 seconds' worth."""


SIDES = {
    "ours bf16": Side(True, "bf16", 33),
    "Trainer bf16": Side(False, "bf16", 13),
    "Trainer fp32": Side(False, "fp32", 10),
    "ours fp32": Side(True, "fp32", 16),
}
WANTED = {
    "ours bf16 / Trainer bf16": ">= 1.7",
    "ours bf16 / Trainer fp32": ">= 4",
    "peak memory, ours / Trainer": "<= 1",
}


def main() -> None:
    """Measure and report; with ``--side``, be one of the processes."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    if asked.side is not None:
        _tell(measure(Room(asked.room), SIDES[asked.side]))
        return
    if asked.check:
        _tell(losses(Room(asked.room)))
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        texts = data_directory(asked.data) / "text"
        files = {code: texts / f"{code}.txt.gz" for code in LANGUAGES}
        room = make_room(Path(scratch), "demo", files, LAYERS, MAX_LENGTH)
        checked = _process(room, asked.threads, "--check")
        refuse_unequal(checked)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        for _ in range(asked.rounds):
            for name, results in found.items():
                results.append(_process(room, asked.threads, "--side", name))
        rows = room.facts["rows"]
    report(asked, found, checked, load, rows)


def measure(room: Room, side: Side) -> dict[str, float]:
    """Run a side in this process: real tokens a second, their share of all, their number in a step, peak memory."""
    if side.is_ours:
        told = run_ours(room, side.precision, BUDGET, ACCUMULATION["ours"], side.steps, WARM_UP)
    else:
        told = run_trainer(room, side.precision, TEXTS, ACCUMULATION["Trainer"], side.steps, WARM_UP)
    return {
        "tokens_per_second": told["tokens"] / told["seconds"],
        "real_share": told["tokens"] / told["places"],
        "tokens_per_step": told["tokens"] / (side.steps - WARM_UP),
        "seconds": told["seconds"],
        "peak_mib": told["peak_mib"],
    }


def losses(room: Room) -> dict[str, list[list[float]]]:
    """By precision, ours and the Trainer's losses on some batches: of hidden states, and of attention."""
    loader = make_batches(room, BUDGET)
    batches = [batch for batch in (loader.next() for _ in range(CHECKED)) if batch is not None]
    found: dict[str, list[list[float]]] = {}
    for precision in ("fp32", "bf16"):
        trainer = PlainTrainer(room, precision, TEXTS, ACCUMULATION["Trainer"], steps=1)
        ours = Ours(room, precision)
        found[precision] = [
            list(pair)
            for batch in batches
            for pair in zip(ours.losses(batch), trainer.losses(batch), strict=True)
        ]
    return found


def refuse_unequal(found: dict[str, list[list[float]]]) -> None:
    """End where the two sides do not compute the same.

    Raises:
        SystemExit: They do not; both losses are in the message.
    """
    for precision, tolerance in TOLERANCES.items():
        for ours, theirs in found[precision]:
            if not abs(ours - theirs) <= tolerance * theirs:
                raise SystemExit(
                    f"in {precision} a loss of ours is {ours:.7g}, and {theirs:.7g} on the same batch by the Trainer; "
                    f"they may differ by {tolerance:g} of it. Nothing was timed."
                )


def report(
    asked: argparse.Namespace,
    found: dict[str, list[dict[str, float]]],
    checked: dict[str, list[list[float]]],
    load: float,
    rows: int,
) -> None:
    """Medians, and ratios of the measurements of each round."""

    def medians(what: str) -> dict[str, float]:
        return {name: median([each[what] for each in results]) for name, results in found.items()}

    def ratio(what: str, one: str, other: str) -> float:
        pairs = zip(found[one], found[other], strict=True)
        return median([mine[what] / theirs[what] for mine, theirs in pairs])

    pairs = [
        ("ours bf16", "Trainer bf16"),
        ("ours bf16", "Trainer fp32"),
        ("ours fp32", "Trainer fp32"),
    ]
    ratios: dict[str, float | None] = {
        f"{one} / {other}": ratio("tokens_per_second", one, other) for one, other in pairs
    }
    ratios["peak memory, ours / Trainer"] = ratio("peak_mib", "ours bf16", "Trainer bf16")
    ratios["peak memory, ours / Trainer, fp32"] = ratio("peak_mib", "ours fp32", "Trainer fp32")
    finish(
        "distil-speed",
        ratios,
        WANTED,
        asked.out,
        unit="real tokens per second of the clock",
        rounds=asked.rounds,
        threads=asked.threads,
        load_average_at_start=load,
        tokens_per_second=medians("tokens_per_second"),
        each_round={name: [round(each["tokens_per_second"]) for each in found[name]] for name in found},
        peak_mib=medians("peak_mib"),
        real_share=medians("real_share"),
        tokens_per_step=medians("tokens_per_step"),
        seconds=medians("seconds"),
        steps={name: side.steps - WARM_UP for name, side in SIDES.items()},
        token_budget=BUDGET,
        trainer_texts=TEXTS,
        accumulation=ACCUMULATION,
        max_length=MAX_LENGTH,
        table_rows=rows,
        layers=LAYERS,
        languages=list(LANGUAGES),
        largest_difference_of_losses={
            precision: float(f"{max(abs(ours / theirs - 1) for ours, theirs in pairs):.2g}")
            for precision, pairs in checked.items()
        },
        tolerances=TOLERANCES,
    )


def _process(room: Room, threads: int, *what: str) -> Any:
    """What a process of this script tells."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--threads",
        str(threads),
        "--room",
        str(room.path),
    ]
    done = run([*command, *what], {"OMP_NUM_THREADS": str(threads)})
    return json.loads(done.stdout.splitlines()[-1])


def _tell(found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured, in turn")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--room", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
