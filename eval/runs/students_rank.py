"""Does a rank of students that were never trained agree with the rank after a short distillation?

    python eval/runs/students_rank.py RUNS --out eval/results/

Four shapes with one vocabulary (what text of English and Swahili uses): 6, 4 and 3 layers of 384 units, and 6 layers of
192. ``polycompress students`` ranks them by DisWOT's two scores, on text of both languages. Then each is distilled for
as many steps as any other, by hidden states and attention (the same settings), tuned on SIB-200's English labels with
three seeds, and judged in English and Swahili. RUNS may be that of ``bistil.py``, whose students are not made again;
judgements are kept where it keeps them. The result says whichever it is: Kendall's tau of the scores, of DisWOT's
parts, and of the number of parameters, with the scores after distillation.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scipy.stats import kendalltau

from eval.runs.bistil import judged, told_of
from eval.runs.bistil_rows import FULL, Model, Room
from eval.speed.harness import data_directory, machine, versions
from polycompress.pipelines.distilling.search_request import SearchSettings
from polycompress.pipelines.students import students

SHAPES = {
    "distilled-6": {"layers": 6},
    "distilled-4": {"layers": 4},
    "distilled-3": {"layers": 3},
    "distilled-6x192": {"layers": 6, "hidden_size": 192, "strategy": "every-nth"},
}
TASK = "sib200"
SEEDS = 5
"""Untrained students of each shape."""


def untrained(room: Room, tokens: int) -> dict[tuple[int, int], dict[str, Any]]:
    """What is said of each shape, by layers and units."""
    found = students(
        room.model,
        budget="1000M",
        langs=f"en,{FULL}",
        corpus=room.text("en", FULL),
        settings=SearchSettings(layers=(3, 4, 6), hidden=(192, 384), tokens=(tokens,), seeds=SEEDS),
    )
    told = [each.as_dict() for each in found.students]
    return {(each["layers"], each["hidden"]): each for each in told}


def student(room: Room, name: str, shape: dict[str, Any]) -> Path:
    """A distilled one, made where it is missing."""
    return room.student(FULL, name, shape=shape) / "final"


def main() -> None:
    """Distil, judge, rank, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the result")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    room = Room(runs=asked.runs, data=data_directory(asked.data), model="demo", steps=asked.steps)
    load = os.getloadavg()[0]
    store = asked.out / "bistil"
    trained: dict[str, dict[str, Any]] = {}
    for name, shape in SHAPES.items():
        model = Model(name, functools.partial(student, room, name, shape))
        scores: dict[str, list[float]] = {}
        for _, result in judged(room, store, FULL, model, TASK):
            for row in result["scores"]:
                scores.setdefault(row["language"], []).append(row["score"])
        facts = told_of(room, store, FULL, model)
        trained[name] = {
            **{what: facts[what] for what in ("layers", "hidden", "feed_forward")},
            "tokens": facts["vocabulary"],
            "scores": scores,
            "mean": sum(map(sum, scores.values())) / sum(map(len, scores.values())),
        }
    said = untrained(room, next(iter(trained.values()))["tokens"])
    rows = [
        {"name": name, **each, "untrained": said[each["layers"], each["hidden"]]}
        for name, each in trained.items()
    ]
    means = [row["mean"] for row in rows]
    agreement = {
        what: float(kendalltau([row["untrained"][what] for row in rows], means).statistic)
        for what in ("score", "semantic", "relation", "parameters")
    }
    whole = {
        "name": "students-rank",
        "question": "does the rank without training agree with the rank after a short distillation?",
        "kendall_tau": agreement,
        "agrees": sorted(rows, key=lambda row: -row["mean"])
        == sorted(rows, key=lambda row: -row["untrained"]["score"]),
        "students": rows,
        "steps": asked.steps,
        "untrained_seeds": SEEDS,
        "load_average_at_start": load,
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (asked.out / "students-rank.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(agreement) + "\n")


if __name__ == "__main__":
    main()
