"""Bilingual students against their teacher and what else could be had at their size, zero-shot from English.

    python eval/runs/bistil.py RUNS --out eval/results/ [--targets sw,de,tr,yo] [--tasks sib200,ner-wikiann]

For Swahili: the teacher; the teacher trimmed; six layers copied and not distilled; the same shape from scratch (random
weights, masked language modelling on the same text for as many steps); MiniLMv2-style (relations alone, the same
budget); six, four and three layers distilled, tuned on labels alone; and six layers with the task learnt sparsely from
the tuned teacher. For the other languages: teacher, trimmed, copied and distilled with six layers.

Every run and every judgement is kept in RUNS; what is there is not done again. The result is written anew after each
judgement: scores with intervals, and for each student the share of the teacher's score above chance that it keeps,
pooled over languages and tasks, by a paired bootstrap over examples.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import data_directory, machine, versions
from polycompress.evaluation.metrics.kept import PairedPart, score_kept
from polycompress.evaluation.results import stored_scores
from polycompress.evaluation.scoring import find_metric, mean_over_models, side_by_side
from polycompress.evaluation.tasks import find_task
from polycompress.pipelines.bistil_general import bistil_general
from polycompress.pipelines.bistil_task import bistil_task
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.mlm import mlm

SEEDS = {"sib200": 3}
"""Of each task; one of others."""
JUDGED_ON = {
    "ner-wikiann": {"sw": ("ner-masakhaner", "ner-wikiann"), "yo": ("ner-masakhaner", "ner-wikiann")}
}
"""Tasks that a tuned model is judged on, where it is not the one it was tuned on alone."""
FULL = "sw"


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table, before a task is learnt."""

    name: str
    path: Path
    sparsely: bool = False
    """Whether the task is learnt from the tuned teacher, sparsely."""


class Room:
    """Where everything lies, and what everything is made with."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.runs: Path = asked.runs
        self.data = data_directory(asked.data)
        self.model: str = asked.model
        self.steps: int = asked.steps
        self.tasks: list[str] = asked.tasks.split(",")

    def text(self, *codes: str) -> list[str]:
        """The pack's text of some languages."""
        return [f"{code}={self.data / 'text' / code}.txt.gz" for code in codes]

    def student(self, target: str, name: str, **settings: Any) -> Path:
        """A distilled student's run."""
        out = self.runs / target / name
        if not (out / "final").is_dir():
            bistil_general(
                self.model,
                source="en",
                target=target,
                corpus=self.text("en", target),
                out=out,
                settings={"text": text_settings(self.steps), **settings},
                resume=out.exists(),
            )
        return out

    def scratch(self, target: str, like: Path) -> Path:
        """A student of random weights, pretrained on the same text."""
        out = self.runs / target / "scratch-6"
        if not (out / "final").is_dir():
            start = self.runs / target / "random-6"
            if not start.is_dir():
                write_random(like / "start", start)
            training = text_settings(self.steps)
            mlm(
                start,
                langs=["en", target],
                corpus=self.text("en", target),
                out=out,
                settings={key: training[key] for key in ("training", "batching")},
                resume=out.exists(),
            )
        return out / "final"


def text_settings(steps: int) -> dict[str, Any]:
    """Of every pretraining here."""
    return {
        "training": {
            "steps": steps,
            "precision": "auto",
            "schedule": {"warmup_steps": min(100, steps // 10)},
            "optimiser": {"learning_rate": 3e-4, "weight_decay": 0.0},
            "snapshots": {"every_steps": 200},
        },
        "batching": {"token_budget": 2048},
        "masked": False,
    }


def write_random(like: Path, out: Path) -> None:
    """A model directory of the same shape, tokenizer and all, with random weights of seed 0."""
    import shutil

    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    building = out.with_name(f".{out.name}")
    shutil.copytree(like, building, dirs_exist_ok=True)
    AutoModel.from_config(AutoConfig.from_pretrained(like)).save_pretrained(building)
    building.rename(out)


def models(room: Room, target: str) -> Iterator[Model]:
    """The rows of a target language, made where they are missing."""
    six = room.student(target, "distilled-6", shape={"layers": 6})
    yield Model("teacher", Path(room.model))
    yield Model("trimmed", six / "teacher")
    yield Model("copied-6", six / "start")
    yield Model("distilled-6", six / "final")
    if target != FULL:
        return
    yield Model("distilled-6, task from the teacher", six / "final", sparsely=True)
    for layers in (4, 3):
        yield Model(
            f"distilled-{layers}",
            room.student(target, f"distilled-{layers}", shape={"layers": layers}) / "final",
        )
    relations = {"hidden_weight": 0.0, "attention": "relations", "relation_heads": 12}
    yield Model("minilmv2-6", room.student(target, "minilmv2-6", shape={"layers": 6}, **relations) / "final")
    yield Model("scratch-6", room.scratch(target, six))


def tuned(room: Room, target: str, model: Model, task: str) -> list[Path]:
    """The model with a task learnt, one for each seed; the teacher's are shared by all targets."""
    shared = model.name == "teacher"
    base = room.runs / ("teacher" if shared else target)
    found = []
    for seed in range(SEEDS.get(task, 1)):
        out = base / f"{slug(model.name)}-{task}-{seed}"
        if not (out / "final").is_dir():
            learn(room, target, model, task, seed, out)
        found.append(out / "final")
    return found


def learn(room: Room, target: str, model: Model, task: str, seed: int, out: Path) -> None:
    """One seed."""
    if not model.sparsely:
        finetune(
            room.model if model.name == "teacher" else model.path,
            task=task,
            train_langs="en",
            out=out,
            data=room.data,
            settings={"seed": seed},
            resume=out.exists(),
        )
        return
    bistil_task(
        model.path,
        task_teacher=room.runs / "teacher" / f"teacher-{task}-{seed}" / "final",
        task=task,
        train_langs="en",
        out=out,
        data=room.data,
        settings={"tuning": {"seed": seed, "weight_decay": 0.0}},
        resume=out.exists(),
    )


def judged(room: Room, target: str, model: Model, task: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Results of every seed, on English and the target language."""
    for seed, path in enumerate(tuned(room, target, model, task)):
        for on in JUDGED_ON.get(task, {}).get(target, (task,)):
            place = room.runs / target / "judged" / f"{slug(model.name)}-{on}-{seed}.json"
            if not place.is_file():
                langs = target if on == "ner-masakhaner" else f"en,{target}"
                result = evaluate(path, task=on, langs=langs, data=room.data)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
            yield on, seed, json.loads(place.read_text("utf-8"))


def slug(name: str) -> str:
    """For names of files."""
    return name.replace(", ", "-").replace(" ", "-")


def summary(
    results: Mapping[tuple[str, str, str], list[dict[str, Any]]], target: str
) -> list[dict[str, Any]]:
    """Each model's scores by task and language, means over seeds."""
    rows = []
    for (language, name, task), found in results.items():
        if language != target:
            continue
        for row in found[0]["scores"]:
            scores = [
                each["score"]
                for one in found
                for each in one["scores"]
                if each["language"] == row["language"]
            ]
            rows.append(
                {
                    "model": name,
                    "task": task,
                    "language": row["language"],
                    "score": sum(scores) / len(scores),
                    "per_seed": scores,
                    "examples": row["examples"],
                    "low": row["low"],
                    "high": row["high"],
                }
            )
    return rows


def kept(results: Mapping[tuple[str, str, str], list[dict[str, Any]]], name: str) -> dict[str, Any] | None:
    """What a model keeps of the teacher's score in target languages, over all that both were judged on."""
    parts = []
    for (target, model, task), found in results.items():
        teacher = results.get((target, "teacher", task))
        if model != name or teacher is None or len(teacher) != len(found):
            continue
        metric = find_metric(found[0]["metric"])
        own, other = ([stored_scores(each, Path(task)) for each in some] for some in (found, teacher))
        for part in own[0]:
            if part.language.startswith("eng"):
                continue
            parts.append(
                PairedPart(
                    student=side_by_side([outcome for each in own for outcome in each[part].outcomes]),
                    teacher=side_by_side([outcome for each in other for outcome in each[part].outcomes]),
                    statistic=mean_over_models(metric, len(found)),
                    chance=find_task(task).chance or 0.0,
                )
            )
    if not parts:
        return None
    found_share = score_kept(parts, seed=0)
    return {"share": found_share.share, "low": found_share.low, "high": found_share.high, "parts": len(parts)}


def main() -> None:
    """Make, tune, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the result")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--targets", default="sw,de,tr,yo")
    parser.add_argument("--tasks", default="sib200,ner-wikiann")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    room, begun, load = Room(asked), time.perf_counter(), os.getloadavg()[0]
    results: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    write = writer(room, asked.out, begun, load)
    for target in asked.targets.split(","):
        for model in models(room, target):
            for task in room.tasks:
                for on, _, result in judged(room, target, model, task):
                    results.setdefault((target, model.name, on), []).append(result)
                write(results)


def writer(
    room: Room, out: Path, begun: float, load: float
) -> Callable[[Mapping[tuple[str, str, str], list[dict[str, Any]]]], None]:
    """Writes the result as far as it is known."""

    def write(results: Mapping[tuple[str, str, str], list[dict[str, Any]]]) -> None:
        names = dict.fromkeys(name for _, name, _ in results)
        targets = dict.fromkeys(target for target, _, _ in results)
        whole = {
            "name": "bistil",
            "teacher": "multilingual-e5-small, dequantised from 4 bits"
            if room.model == "demo"
            else room.model,
            "steps": room.steps,
            "scores": {target: summary(results, target) for target in targets},
            "kept": {name: kept(results, name) for name in names},
            "seconds": round(time.perf_counter() - begun, 1),
            "load_average_at_start": load,
            "machine": machine(),
            "versions": versions(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(whole, indent=1, ensure_ascii=False)
        (out / "bistil.json").write_text(text + "\n", encoding="utf-8")
        sys.stdout.write(json.dumps(whole["kept"]) + "\n")
        sys.stdout.flush()

    return write


if __name__ == "__main__":
    main()
