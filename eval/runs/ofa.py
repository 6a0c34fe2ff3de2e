"""New subwords for Yoruba, Igbo, Zulu and Kinyarwanda, initialised in several ways; before and after an adaptation.

    python eval/runs/ofa.py RUNS --out eval/results/ [--ways ofa,focus,pieces,random] [--collect]
    python eval/runs/ofa.py RUNS --ranks 384,200,100,50 --out eval/results/

The demo model is trimmed to English, German and the four languages; its tokenizer gets new pieces of the four, the same
for every way. Word vectors are trained on the pack's text and brought to one space by parallel sentences of SIB-200's
train split. Each model is judged before any training and after an adaptation of equally many steps: distillation to the
original model's hidden states, word by word, on text of all, then to its sentence vectors on SIB-200's parallel train
sentences (English, and each language). Judged: retrieval of English among SIB-200's dev and test sentences (303, never
adapted on), and SIB-200 zero-shot from English labels. The adaptation is cut into parts, and retrieval on the dev
sentences alone after each part is the curve. The trimmed model without new pieces is adapted and judged beside them.

With ``--ranks``: the demo model's whole table factorised, by rank: size, retrieval, SIB-200 and NER.

Everything is kept in RUNS and nothing is done twice; ``--collect`` reports what is there. Ways that the result holds
already stay in it, so that others can be added on another day.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import data_directory, machine, versions
from polycompress import trim
from polycompress.pipelines.align_vectors import align_vectors
from polycompress.pipelines.distil import distil
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.extend_tokenizer import extend_tokenizer
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.ofa import ofa
from polycompress.pipelines.vectors import train_vectors

NEW = {"yo": "yor_Latn", "ig": "ibo_Latn", "zu": "zul_Latn", "rw": "kin_Latn"}
"""Languages that get pieces, and their files in SIB-200."""
OLD = {"en": "eng_Latn", "de": "deu_Latn"}
PIECES = 10_000
WIDTH = 400
"""Of aligned vectors."""
PARTS, STEPS = 4, 30
"""Of the adaptation to sentence vectors; each a point of the curve."""
TEXT_STEPS = 100
"""Of the adaptation to hidden states."""
NER_STEPS = 400
"""Of tuning factorised models on WikiANN."""
PLAIN = "no new pieces"


@dataclass(frozen=True, slots=True)
class Room:
    """Where everything lies."""

    runs: Path
    data: Path
    model: str
    collects: bool

    def text(self, *codes: str) -> list[str]:
        """The pack's text of some languages."""
        return [f"{code}={self.data / 'text' / code}.txt.gz" for code in codes]

    def pairs(self) -> list[str]:
        """SIB-200's sentences in English and each new language; of tables with a split, train is taken."""
        sib = self.data / "sib200"
        return [f"en-{code}={sib / OLD['en']}.tsv.gz+{sib / name}.tsv.gz" for code, name in NEW.items()]


def held_out(room: Room, splits: Sequence[str]) -> Path:
    """A data directory that holds SIB-200's sentences of some splits alone, for retrieval."""
    out = room.runs / f"data-{'-'.join(splits)}" / "sib200"
    if not out.is_dir():
        out.mkdir(parents=True)
        for name in (*OLD.values(), *NEW.values()):
            with gzip.open(room.data / "sib200" / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
                header, *rows = file.read().splitlines()
            kept = [row for row in rows if row.split("\t")[1] in splits]
            (out / f"{name}.tsv").write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    return out.parent


def base(room: Room) -> Path:
    """The model trimmed to all six languages."""
    out = room.runs / "base"
    if not out.is_dir():
        codes = (*OLD, *NEW)
        trim(room.model, langs=",".join(codes), corpus=room.text(*codes), out=out)
    return out


def tokenizer(room: Room) -> Path:
    """Its tokenizer with new pieces."""
    out = room.runs / "tokenizer"
    if not out.is_dir():
        extend_tokenizer(
            base(room),
            langs=",".join(NEW),
            corpus=room.text(*NEW),
            pieces=PIECES,
            out=out,
            check=["en", "de"],
        )
    return out


def vectors(room: Room) -> Path:
    """Words of English and the new languages in one space."""
    trained, out = room.runs / "vectors", room.runs / "aligned"
    if not trained.is_dir():
        train_vectors(room.text("en", *NEW), trained)
    if not out.is_dir():
        align_vectors(str(trained), out, to="en", method="joint", pairs=room.pairs(), width=WIDTH)
    return out


def made(room: Room, way: str) -> Path:
    """The model with new pieces, initialised in one way."""
    if way == PLAIN:
        return base(room)
    out = room.runs / way / "start"
    if not out.is_dir():
        needs = [str(vectors(room))] if way in ("ofa", "wechsel") else []
        corpus = room.text("en", *NEW) if way == "focus" else []
        ofa(base(room), tokenizer=tokenizer(room), vectors=needs, corpus=corpus, init=way, out=out)
    return out


def adapted(room: Room, way: str) -> Path:
    """The run that teaches it what the original model says."""
    out = room.runs / slug(way) / "adapted"
    if not (out / "final").is_dir() and not room.collects:
        parts = [
            {
                "name": f"sentences-{number}",
                "data": "parallel",
                "pairs": room.pairs(),
                "losses": [{"name": "sentence-vectors", "options": {"distance": "cosine"}}],
                "steps": STEPS,
                "learning_rate": 2e-4,
                "seed": number,
            }
            for number in range(PARTS)
        ]
        words = {
            "name": "words",
            "data": "text",
            "losses": ["mixed-hidden"],
            "masked": False,
            "steps": TEXT_STEPS,
            "batch_tokens": 1024,
            "learning_rate": 5e-5,
        }
        recipe = {
            "name": "adaptation",
            "teacher": room.model,
            "student": {"directory": str(made(room, way))},
            "languages": {"source": "en", "target": list(NEW)},
            "corpora": room.text("en", *NEW),
            "training": {"seed": 0},
            "stages": [words, *parts],
        }
        path = room.runs / slug(way) / "adaptation.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
        distil(path, out=out, data=room.data, resume=out.exists())
    return out


def scores(room: Room, place: Path, model: Path, task: str, langs: Sequence[str], data: Path) -> Any:
    """Scores by language, with intervals; judged once."""
    if not place.is_file():
        if room.collects:
            return None
        found = evaluate(model, task=task, langs=",".join(langs), data=data)
        rows = {row["language"]: {name: row[name] for name in ("score", "low", "high", "examples")}
                for row in found["scores"]}  # fmt: skip
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(rows), encoding="utf-8")
    return json.loads(place.read_text("utf-8"))


def tuned(room: Room, place: Path, model: Path, task: str, steps: int | None = None) -> Path:
    """The model with a task learnt in English."""
    if not (place / "final").is_dir() and not room.collects:
        finetune(
            model, task=task, train_langs="en", out=place, data=room.data, settings={"seed": 0, "steps": steps},
            resume=place.exists(),
        )  # fmt: skip
    return place / "final"


def judged(room: Room, way: str, when: str, model: Path) -> dict[str, Any]:
    """Retrieval and SIB-200 of one model."""
    here, codes = room.runs / slug(way), (*OLD, *NEW)
    others = [code for code in codes if code != "en"]
    retrieval = held_out(room, ("dev", "test"))
    known = tuned(room, here / f"sib200-{when}", model, "sib200")
    return {
        "retrieval": scores(
            room, here / f"retrieval-{when}.json", model, "retrieval-sib200", others, retrieval
        ),
        "sib200": scores(room, here / f"sib200-{when}.json", known, "sib200", codes, room.data),
    }


def curve(room: Room, way: str) -> list[Any]:
    """Retrieval on the dev sentences, before and after each part of the adaptation."""
    here, dev = room.runs / slug(way), held_out(room, ("dev",))
    run = adapted(room, way)
    names = ["1-words", *(f"{number + 2}-sentences-{number}" for number in range(PARTS))]
    models = [made(room, way), *(run / "stages" / name / "final" for name in names)]
    return [
        scores(room, here / f"curve-{number}.json", model, "retrieval-sib200", list(NEW), dev)
        for number, model in enumerate(models)
    ]


def ways(room: Room, asked: Sequence[str], out: Path) -> None:
    """Every way, written anew after each; others that the result has stay in it."""
    cut = json.loads((tokenizer(room) / "polycompress.json").read_text("utf-8"))["tokenizer"]
    shared = {
        "pieces": PIECES,
        "steps": [TEXT_STEPS, *[STEPS] * PARTS],
        "tokenizer": {name: cut[name] for name in ("languages", "changes")},
    }
    kept = out / "ofa.json"
    found: dict[str, Any] = json.loads(kept.read_text("utf-8"))["ways"] if kept.is_file() else {}
    for way in asked:
        before = judged(room, way, "before", made(room, way))
        points = curve(room, way)
        after = judged(room, way, "after", adapted(room, way) / "final")
        plan = json.loads((made(room, way) / "polycompress.json").read_text("utf-8")).get("ofa") or {}
        counts = {name: plan[name] for name in ("tokens", "rules", "languages", "covered") if name in plan}
        found[way] = {"before": before, "after": after, "curve": points, "plan": counts}
        write(room, out, "ofa", {**shared, "ways": found})


def ranks(room: Room, asked: Sequence[int], out: Path) -> None:
    """Every rank of the whole model's table."""
    found: dict[str, Any] = {}
    for rank in asked:
        here = room.runs / f"rank-{rank}"
        model = here / "model"
        if not model.is_dir():
            factorise_model(room.model, rank=rank, out=model)
        config = json.loads((model / "polycompress.json").read_text("utf-8"))
        known = tuned(room, here / "sib200", model, "sib200")
        tagger = tuned(room, here / "ner", model, "ner-wikiann", NER_STEPS)
        found[str(rank)] = {
            "sizes": config.get("sizes"),
            "retrieval": scores(
                room,
                here / "retrieval.json",
                model,
                "retrieval-sib200",
                ["de", *NEW],
                held_out(room, ("dev", "test")),
            ),
            "sib200": scores(room, here / "sib200.json", known, "sib200", (*OLD, *NEW), room.data),
            "ner-wikiann": scores(room, here / "ner.json", tagger, "ner-wikiann", ["en", "de"], room.data),
            "ner-masakhaner": scores(
                room, here / "masakha.json", tagger, "ner-masakhaner", ["yo", "zu"], room.data
            ),
        }
        write(room, out, "ofa-ranks", {"ner_steps": NER_STEPS, "ranks": found})


def write(room: Room, out: Path, name: str, found: dict[str, Any]) -> None:
    """The result so far."""
    whole = {
        "name": name,
        "model": room.model,
        **found,
        "load_average": os.getloadavg()[0],
        "machine": machine(),
        "versions": versions(),
        "seed": 0,
        "date": datetime.now(UTC).date().isoformat(),
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def slug(name: str) -> str:
    """For names of directories."""
    return name.replace(" ", "-")


def main() -> None:
    """Make, adapt, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the result")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--ways", default=f"{PLAIN},ofa,focus,pieces,random")
    parser.add_argument(
        "--ranks", default="", help="these ranks of the whole model's table instead, by commas"
    )
    parser.add_argument(
        "--collect", action="store_true", help="train and judge nothing; report what is there"
    )
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    room = Room(
        runs=asked.runs.absolute(), data=data_directory(asked.data), model=asked.model, collects=asked.collect
    )
    room.runs.mkdir(parents=True, exist_ok=True)
    if asked.ranks:
        ranks(room, [int(rank) for rank in asked.ranks.split(",")], asked.out)
    else:
        ways(room, asked.ways.split(","), asked.out)


if __name__ == "__main__":
    main()
