"""What trimming costs on tasks: SIB-200 and WikiANN in German, Turkish and Chinese, by the size of the vocabulary.

    python eval/runs/trimming_curve.py RUNS --out eval/results/ [--model demo]

The vocabulary serves English and the target language, from the built-in word frequencies. Models are tuned in English.
Trimmed after tuning: no more training, 5 to 60 thousand tokens. Trimmed before: 10 and 40 thousand, one seed, to see
what tuning a small table changes. Tuned models of ``cross_lingual.py`` in RUNS are taken as they are, and so are the
points a result in OUT already holds: a run that was cut off goes on there (delete the file to judge all anew).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import data_directory, machine, versions
from polycompress import trim
from polycompress.errors import InputError
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.finetune import finetune

TASKS = ("sib200", "ner-wikiann")
TARGETS = ("de", "tr", "zh")
AFTER = (5_000, 10_000, 20_000, 40_000, 60_000)
BEFORE = (10_000, 40_000)
SEED = 0


def scores(model: Path, task: str, target: str, data: Path) -> dict[str, dict[str, float]]:
    """Score and interval in English and in the target language."""
    found = evaluate(model, task=task, langs=f"en,{target}", data=data)
    return {
        row["language"]: {name: row[name] for name in ("score", "low", "high", "examples")}
        for row in found["scores"]
    }


def trimmed(model: Path | str, target: str, size: int, out: Path) -> dict[str, Any]:
    """Trim to English and a language; ``refused`` where so few tokens do not hold what must stay."""
    try:
        found = trim(model, langs=f"en,{target}", size=size, out=out, overwrite=True)
    except InputError as error:
        return {"refused": str(error)}
    sizes = found.plan.sizes["after"]
    return {"tokens": sizes["vocab"], "parameters": sizes["parameters"], "bytes": sizes["bytes"]}


class Curve:
    """The points of a result; each new one is written at once, so that a run cut off has lost nothing."""

    def __init__(self, out: Path) -> None:
        self.begun, self.load = time.perf_counter(), os.getloadavg()[0]
        self.place = out / "trimming-curve.json"
        before = json.loads(self.place.read_text("utf-8")) if self.place.exists() else {}
        self.points: dict[str, list[dict[str, Any]]] = before.get("curve", {})
        self.seconds: float = before.get("seconds", 0)

    def known(self, task: str, target: str, when: str, size: int | None) -> bool:
        """Whether the result holds this point."""
        points = self.points.get(f"{task}, {target}", [])
        return any((point["when"], point["asked"]) == (when, size) for point in points)

    def keep(self, task: str, target: str, point: dict[str, Any]) -> None:
        """Add a point and write all that is known so far."""
        self.points.setdefault(f"{task}, {target}", []).append(point)
        result = {
            "name": "trimming-curve",
            "model": "multilingual-e5-small, dequantised from 4 bits",
            "curve": self.points,
            "seed": SEED,
            "seconds": round(self.seconds + time.perf_counter() - self.begun, 1),
            "load_average_at_start": self.load,
            "machine": machine(),
            "versions": versions(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        self.place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1, ensure_ascii=False)
        self.place.write_text(text + "\n", encoding="utf-8")
        sys.stdout.write(json.dumps({"task": task, "target": target, **point}, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Tune where needed, trim, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the result")
    parser.add_argument("--model", default="demo")
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    data, runs = data_directory(asked.data), asked.runs
    curve = Curve(asked.out)
    for task in TASKS:
        tuned = runs / f"{task}-tuned"
        if not (tuned / "final").is_dir():
            finetune(asked.model, task=task, train_langs="en", out=tuned, data=data, settings={"seed": SEED})
        for target in TARGETS:
            if not curve.known(task, target, "never", None):
                whole = scores(tuned / "final", task, target, data)
                curve.keep(task, target, {"when": "never", "asked": None, "scores": whole})
            for size in AFTER:
                if curve.known(task, target, "after tuning", size):
                    continue
                small = runs / "trimmed"
                made = trimmed(tuned / "final", target, size, small)
                judged = {} if "refused" in made else scores(small, task, target, data)
                curve.keep(task, target, {"when": "after tuning", "asked": size, **made, "scores": judged})
    for task, target, size in itertools.product(TASKS, TARGETS, BEFORE):
        if curve.known(task, target, "before tuning", size):
            continue
        small, run = runs / f"{target}-{size}", runs / f"{task}-{target}-{size}"
        made = trimmed(asked.model, target, size, small)
        judged = {}
        if "refused" not in made:
            if not (run / "final").is_dir():
                finetune(
                    small,
                    task=task,
                    train_langs="en",
                    out=run,
                    data=data,
                    settings={"seed": SEED},
                    resume=run.exists(),
                )
            judged = scores(run / "final", task, target, data)
        curve.keep(task, target, {"when": "before tuning", "asked": size, **made, "scores": judged})


if __name__ == "__main__":
    main()
