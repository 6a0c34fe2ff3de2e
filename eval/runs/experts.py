"""Experts of language families against dense students, and one family's student against bilingual ones.

    python eval/runs/experts.py RUNS --out eval/results/ [--parts main,routes,ner,families] [--seeds 2] [--collect]

Ten languages of four branches: German, Dutch, Swedish; French, Spanish, Italian; Swahili, Zulu; Russian, Ukrainian. The
demo model is trimmed to them and teaches; a student of six layers is distilled first, and every model begins with it:
the dense student itself; with wider feed-forward networks, so that a token meets as many parameters as with two experts
(or that there are as many in all); and with an expert for each branch in the last two layers, whose routers are forced,
told the family by a loss, or told nothing. All learn from the same texts in the same order for as many steps. The model
whose routers were forced is judged plainly, and with the families forced at inference too.

``main``: sentence retrieval from German (all 1,004 sentences of SIB-200), and SIB-200 learnt from German labels.
``routes``: where tokens go. ``ner``: WikiANN learnt from German labels, and MasakhaNER.
``families``: each family's student, taken out of the model with forced routing and trimmed, against the dense student
trimmed likewise, and against a bilingual student distilled for as many steps in all on its two languages alone: SIB-200
learnt from the first language's labels, and retrieval between the two.

Judgements are kept beside the result, in ``experts/``; what is there is not made again, and the result is written anew
after each. A second process may make the rest from the end; then ``--collect`` writes what both have found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.runs.bistil_table import facts_of, get, put, share_of, shortened
from eval.runs.experts_models import (
    CODES,
    EXPERT_LAYERS,
    FAMILIES,
    LANGUAGES,
    PAIRS,
    START_STEPS,
    STEPS,
    Model,
    Room,
    family_models,
    main_models,
)
from eval.speed.harness import data_directory, machine, versions
from polycompress.evaluation.metrics.kept import PairedPart
from polycompress.evaluation.results import stored_scores
from polycompress.evaluation.scoring import find_metric, mean_over_models, side_by_side
from polycompress.evaluation.tasks import find_task
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.moe_routes import moe_routes

TUNING = {"sib200": {"steps": 150}, "ner-wikiann": {"steps": 200}}
"""Of every model."""
NER_LIMIT = 500
"""Test sentences of each language."""
NER = {"ner-wikiann": "de,nl,fr,es,it,sw,ru,uk", "ner-masakhaner": "sw,zu"}
ROUTED_TEXTS = 200

Judgements = dict[tuple[str, str], list[dict[str, Any]]]
"""By model and task: a result of each seed."""


def retrieval_task(room: Room, pivot: str) -> tuple[str, Path]:
    """Retrieval among SIB-200's sentences with another pivot: its id, and the directory of its file."""
    name = f"retrieval-sib200-{pivot}"
    place = room.runs / "tasks" / f"{name}.toml"
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (Path(__file__).parents[1] / "tasks" / "retrieval-sib200.toml").read_text("utf-8")
        changed = text.replace('id = "retrieval-sib200"', f'id = "{name}"')
        place.write_text(changed.replace("eng-Latn", CODES[pivot]), encoding="utf-8")
    return name, place.parent


def learnt(room: Room, model: Model, task: str, source: str, seed: int) -> Path:
    """The model with a task learnt in one language."""
    out = room.runs / "tuned" / f"{model.slug}-{task}-{seed}"
    with room.alone(out.name):
        if not (out / "final").is_dir():
            finetune(
                model.make(), task=task, train_langs=source, out=out, data=room.data,
                settings={"seed": seed, **TUNING[task]}, resume=out.exists(),
            )  # fmt: skip
    return out / "final"


def judged(room: Room, store: Path, model: Model, task: str, langs: Sequence[str], seed: int) -> Any:
    """One judgement; None where it is missing and nothing is made. The first language is the one that is learnt in."""
    place = store / f"{model.slug}-{task}-{seed}.json.gz"
    if room.collects:
        return get(place) if place.is_file() else None
    with room.alone(place.name):
        if not place.is_file():
            put(place, shortened(judge(room, model, task, langs, seed)))
    return get(place)


def judge(room: Room, model: Model, task: str, langs: Sequence[str], seed: int) -> dict[str, Any]:
    """What the suite says of it."""
    if task == "retrieval":
        name, tasks = retrieval_task(room, langs[0])
        return evaluate(model.make(), task=name, langs=",".join(langs[1:]), tasks=tasks, data=room.data)
    if task in NER:
        path = learnt(room, model, "ner-wikiann", langs[0], seed)
        return evaluate(path, task=task, langs=NER[task], limit=NER_LIMIT, data=room.data)
    path = learnt(room, model, task, langs[0], seed)
    return evaluate(path, task=task, langs=",".join(langs), data=room.data)


def told(room: Room, store: Path, model: Model) -> dict[str, Any]:
    """Facts of a model: parameters, those that one token meets, how it was trained."""
    place = store / f"{model.slug}.json.gz"
    if not place.is_file() and not room.collects:
        path = model.make()
        put(place, {**facts_of(path), **parameters(path)})
    return get(place) if place.is_file() else {}


def parameters(model: Path) -> dict[str, int]:
    """In all, those that one token meets, and those of the table among both."""
    from transformers import AutoModel

    import polycompress.auto  # noqa: F401  knows models with experts
    from polycompress.evaluation.speed_models import count_parameters

    found = count_parameters(AutoModel.from_pretrained(model))
    assert found.embedding is not None and found.active is not None
    return {"parameters": found.total, "active_parameters": found.active, "table": found.embedding}


def summary(found: Judgements) -> list[dict[str, Any]]:
    """Scores of each language, means over seeds; the interval is of the first seed's."""
    rows = []
    for (name, task), results in found.items():
        for number, row in enumerate(results[0]["scores"]):
            scores = [each["scores"][number]["score"] for each in results]
            told = {key: row[key] for key in ("language", "examples", "low", "high")}
            rows.append(
                {"model": name, "task": task, **told, "score": sum(scores) / len(scores), "per_seed": scores}
            )
    return rows


def against(found: Judgements, other: str) -> dict[str, dict[str, Any]]:
    """Each model's scores above chance as a share of another's, by task and family, paired over examples."""
    shares: dict[str, dict[str, Any]] = {}
    family = {CODES[code]: name for name, codes in FAMILIES.items() for code in codes}
    for (name, task), results in found.items():
        held = found.get((other, task))
        if name == other or held is None or len(held) != len(results):
            continue
        metric = find_metric(results[0]["metric"])
        chance = find_task("retrieval-sib200" if task == "retrieval" else task).chance or 0.0
        own, theirs = ([stored_scores(each, Path(task)) for each in some] for some in (results, held))
        parts: dict[str, list[PairedPart]] = {}
        for part in own[0]:
            if part not in theirs[0]:
                continue
            paired = PairedPart(
                student=side_by_side([outcome for each in own for outcome in each[part].outcomes]),
                teacher=side_by_side([outcome for each in theirs for outcome in each[part].outcomes]),
                statistic=mean_over_models(metric, len(results)),
                chance=chance,
            )
            for key in (task, f"{task}, {family[part.language]}"):
                parts.setdefault(key, []).append(paired)
        shares.setdefault(name, {}).update({key: share_of(some) for key, some in parts.items()})
    return shares


def table(
    room: Room,
    store: Path,
    rows: Mapping[str, Sequence[Model]],
    tasks: Mapping[str, int],
    langs: Mapping[str, Sequence[str]],
) -> Iterator[tuple[Judgements, dict[str, Any]]]:
    """What is known of some models (by name, that of each seed), more after each judgement.

    The first of a model's languages is the one that it learns tasks in.
    """
    found: Judgements = {}
    facts: dict[str, Any] = {}
    wanted = [(task, name) for task in tasks for name in rows]
    for task, name in reversed(wanted) if room.backwards else wanted:
        models = rows[name][: tasks[task]]
        some = [judged(room, store, model, task, langs[name], seed) for seed, model in enumerate(models)]
        if None in some:
            continue
        found[name, task] = some
        facts[name] = told(room, store, models[0])
        yield found, facts


def write(out: Path, name: str, found: Mapping[str, Any], load: float) -> None:
    """A result as far as it is known."""
    whole = {
        "name": name,
        "teacher": "multilingual-e5-small, dequantised from 4 bits, trimmed to ten languages",
        "families": FAMILIES,
        "expert_layers": EXPERT_LAYERS,
        "steps": {"start": START_STEPS, "each": STEPS},
        "tuning": TUNING,
        **found,
        "load_average_at_start": load,
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main_table(room: Room, out: Path, tasks: Mapping[str, int], seeds: int, load: float, name: str) -> None:
    """Dense students and those with experts."""
    by_seed = [main_models(room, seed) for seed in range(seeds)]
    rows = {models[0].name: models for models in zip(*by_seed, strict=True)}
    langs = dict.fromkeys(rows, LANGUAGES)
    for found, facts in table(room, out / "experts", rows, tasks, langs):
        more = {"seeds": tasks, "ner_limit": NER_LIMIT, "models": facts, "scores": summary(found)}
        write(out, name, {**more, "of_dense": against(found, "dense")}, load)


def families_table(room: Room, out: Path, load: float) -> None:
    """Extracted students, dense ones trimmed, and bilingual ones."""
    models = family_models(room)
    rows = {model.name: [model] for model in models}
    langs = {model.name: PAIRS[model.families[0]] for model in models}
    for found, facts in table(room, out / "experts", rows, {"retrieval": 1, "sib200": 1}, langs):
        shares = {}
        for family in FAMILIES:
            own = {key: some for key, some in found.items() if key[0].endswith(f", {family}")}
            shares.update(against(own, f"bilingual, {family}"))
        write(
            out, "experts-families", {"models": facts, "scores": summary(found), "of_bilingual": shares}, load
        )


def routes(room: Room, out: Path, load: float) -> None:
    """Where tokens of held-out text go, and how far that moved from the start."""
    found = {}
    for routing in ("forced", "supervised", "none"):
        place = out / "experts" / f"routes-{routing}.json.gz"
        if not place.is_file() and not room.collects:
            seen = moe_routes(
                room.experts(routing, 0),
                corpus=room.text(*LANGUAGES),
                texts=ROUTED_TEXTS,
                against=room.upcycled(),
                plot=out / f"experts-routes-{routing}.png",
            )
            put(place, {key: value for key, value in seen.as_dict().items() if key not in ("model", "plot")})
        if place.is_file():
            found[routing] = get(place)
    write(out, "experts-routes", {"texts": ROUTED_TEXTS, "routing": found}, load)


def main() -> None:
    """Make, tune, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the results")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--parts", default="main,routes,ner,families")
    parser.add_argument("--seeds", type=int, default=2, help="of retrieval and SIB-200 in the first table")
    parser.add_argument("--collect", action="store_true", help="make nothing; report what is there")
    parser.add_argument(
        "--backwards",
        action="store_true",
        help="last judgements first: for a second process on the same RUNS",
    )
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    room = Room(
        runs=asked.runs.absolute(),
        data=data_directory(asked.data),
        model=asked.model,
        collects=asked.collect,
        backwards=asked.backwards,
    )
    room.runs.mkdir(parents=True, exist_ok=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    for part in asked.parts.split(","):
        if part == "main":
            main_table(
                room,
                asked.out,
                {"retrieval": asked.seeds, "sib200": asked.seeds},
                asked.seeds,
                load,
                "experts",
            )
        elif part == "ner":
            main_table(room, asked.out, dict.fromkeys(NER, 1), 1, load, "experts-ner")
        elif part == "routes":
            routes(room, asked.out, load)
        elif part == "families":
            families_table(room, asked.out, load)
        else:
            parser.error(f"--parts {part}: give main, routes, ner, families")


if __name__ == "__main__":
    main()
