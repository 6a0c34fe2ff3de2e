"""Bilingual students against their teacher and what else could be had at their size, zero-shot from English.

    python eval/runs/bistil.py RUNS --out eval/results/ [--targets sw,de,tr,yo] [--tasks sib200,xnli] [--models teacher]
    python eval/runs/bistil.py RUNS --bench --out eval/results/      # speed and memory of Swahili models; idle machine

For Swahili: the teacher; the tuned teacher trimmed; six layers copied and not distilled; the same shape from scratch
(random weights, masked language modelling on the same text for as many steps); MiniLMv2-style (relations alone);
multilingual distillation (six layers, the whole vocabulary, text of all languages), all for as many steps; six, four
and three layers distilled. For the other languages: teacher, trimmed, copied and distilled with six layers. A task is
learnt from English labels; "taught on text" means of the tuned teacher's answers to unlabelled text of both
languages (pairs of texts for XNLI), then to the task's English texts; "taught sparsely" of the tuned teacher on the
task's English texts, a tenth of the weights; "more words" that the vocabulary is that of built-in word frequencies
too, not of the text alone.

Every run is kept in RUNS, every judgement beside the result, in ``bistil/``; what is there is not done again, so
several processes may make different targets, and the last one collects; what was judged needs its run no more. The
result is written anew after each judgement: scores with intervals, loyalty to the teacher, parameters, bytes, and for
each kind of student the share of the teacher's score above chance that it keeps, pooled over languages and tasks, by a
paired bootstrap over examples.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.runs.bistil_rows import FULL, SEEDS, TUNING_STEPS, Model, Room, models, slug, teacher_of, tuned
from eval.runs.bistil_table import (
    Results,
    against,
    facts_of,
    get,
    kept,
    on_its_tasks,
    put,
    shortened,
    summary,
)
from eval.speed.harness import data_directory, machine, versions
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.bench import bench
from polycompress.pipelines.evaluate import evaluate

JUDGED_ON = {
    "ner-wikiann": {"sw": ("ner-masakhaner", "ner-wikiann"), "yo": ("ner-masakhaner",)},
    "xnli": {"yo": ()},
}
"""Tasks that a tuned model is judged on, where it is not the one it was tuned on alone; none: no such data."""
BENCHED = ("teacher", "trimmed", "distilled-6", "distilled-4", "distilled-3")


BASELINES = ("copied-6", "minilmv2-6", "scratch-6", "multilingual-6")
"""Of six layers too; each on all tasks that both have, in Swahili."""
WANTED = 0.97
"""Of the teacher's score above chance, by students of six layers."""
TRIED = {
    "distilled-6": "errors of hidden states relative to each layer's spread, vectors of whole texts, and small batches",
    "minilmv2-6": "relations among queries, keys and values alone, instead of states and maps",
    "distilled-6, taught on text": "a task learnt of the tuned teacher's answers to unlabelled text of both languages",
    "distilled-6, more words, taught on text": "the same, with 50,000 tokens, by built-in word frequencies as well",
    "distilled-6, taught sparsely": "a task learnt sparsely of the tuned teacher's states and answers on English texts",
}
"""Against falling short; each counts where it has a row."""
COMPARED = ("distilled-6", "trimmed", "trimmed, more words")
"""With each that was tried."""


def judged(room: Room, store: Path, target: str, model: Model, task: str) -> list[tuple[str, dict[str, Any]]]:
    """Results of every seed, on English and the target language; none where they are missing and nothing is made."""
    judges = JUDGED_ON.get(task, {}).get(target, (task,))
    places = {
        (on, seed): store / target / f"{slug(model.name)}-{on}-{seed}.json.gz"
        for seed in range(SEEDS.get(task, 1))
        for on in judges
    }
    missing = [key for key, place in places.items() if not place.is_file()]
    if missing and room.collects:
        return []
    if missing:
        paths = tuned(room, target, model, task)
    for on, seed in missing:
        langs = target if on == "ner-masakhaner" else f"en,{target}"
        teacher = None if model.name == "teacher" else teacher_of(room, task, seed) / "final"
        result = evaluate(paths[seed], task=on, langs=langs, data=room.data, teacher=teacher)
        put(places[on, seed], shortened(result))
    return [(on, get(place)) for (on, _), place in places.items()]


def told_of(room: Room, store: Path, target: str, model: Model) -> dict[str, Any]:
    """Facts of a model that was judged."""
    place = store / target / f"{slug(model.name)}.json.gz"
    if not place.is_file() and not room.collects:
        put(place, facts_of(resolve_model(str(model.make())).path))
    return get(place) if place.is_file() else {}


def write(
    room: Room,
    out: Path,
    results: Results,
    facts: dict[str, dict[str, Any]],
    load: float,
    notes: list[str],
) -> None:
    """The result as far as it is known."""
    names = dict.fromkeys(name for _, name, _ in results)
    targets = dict.fromkeys(target for target, _, _ in results)
    shares = {name: kept(results, name) for name in names}
    whole = {
        "name": "bistil",
        "teacher": "multilingual-e5-small, dequantised from 4 bits" if room.model == "demo" else room.model,
        "steps": room.steps,
        "text": "at most 1.25 MB of each language; at this size a share of 1e-6 keeps every token that was seen",
        "seeds": SEEDS,
        "tuning_steps": TUNING_STEPS,
        "models": facts,
        "scores": {target: summary(results, target) for target in targets},
        "kept": shares,
        "wanted": WANTED,
        "falls_short_by": {
            name: round(WANTED - found["targets"]["share"], 4)
            for name, found in shares.items()
            if found is not None and name.startswith("distilled-6")
        },
        "distilled-6_against": {
            name: against(results, "distilled-6", name, FULL) for name in BASELINES if name in names
        },
        "tried": {
            name: {"what": what, "kept_on_its_tasks": on_its_tasks(results, name, COMPARED)}
            for name, what in TRIED.items()
            if name in names
        },
        "notes": notes,
        "load_average_at_start": load,
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (out / "bistil.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(whole["kept"]) + "\n")
    sys.stdout.flush()


def measure(room: Room, out: Path) -> None:
    """Size, load time, memory, latency and throughput of the Swahili models in turns."""
    chosen = [model for model in models(room, FULL) if model.name in BENCHED]
    result = bench([model.make() for model in chosen], rounds=4)
    found = result.as_dict()
    for row, model in zip(found["models"], chosen, strict=True):
        row["path"] = model.name
    whole = {"name": "bistil-bench", "names": [model.name for model in chosen], "bench": found}
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (out / "bistil-bench.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Make, tune, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the result")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--targets", default="sw,de,tr,yo")
    parser.add_argument("--tasks", default="sib200,ner-wikiann,xnli")
    parser.add_argument("--models", help="names of rows, as files are named after them, joined by commas")
    parser.add_argument("--steps", type=int, default=1000, help="of every pretraining")
    parser.add_argument(
        "--collect", action="store_true", help="make nothing; report what is there with all its seeds"
    )
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        help="what else a reader of the result has to know; may be repeated",
    )
    parser.add_argument("--bench", action="store_true", help="measure speed and memory instead")
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    room = Room(
        runs=asked.runs,
        data=data_directory(asked.data),
        model=asked.model,
        steps=asked.steps,
        collects=asked.collect,
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    if asked.bench:
        measure(room, asked.out)
        return
    store = asked.out / "bistil"
    chosen = asked.models and asked.models.split(",")
    results: Results = {}
    facts: dict[str, dict[str, Any]] = {}
    for task in asked.tasks.split(","):
        for target in asked.targets.split(","):
            for model in models(room, target):
                wanted = task in (model.tasks or (task,)) and (not chosen or slug(model.name) in chosen)
                found = judged(room, store, target, model, task) if wanted else []
                if not found:
                    continue
                for on, result in found:
                    results.setdefault((target, model.name, on), []).append(result)
                facts.setdefault(target, {})[model.name] = told_of(room, store, target, model)
                if not room.collects:
                    write(room, asked.out, results, facts, load, asked.note)
    if room.collects:
        write(room, asked.out, results, facts, load, asked.note)


if __name__ == "__main__":
    main()
