"""The models that ``bistil.py`` compares: how each is made, and how it learns a task; none is made twice."""

from __future__ import annotations

import functools
import gzip
import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polycompress.evaluation.tasks import find_task
from polycompress.languages import find_language
from polycompress.pipelines.bistil_general import bistil_general
from polycompress.pipelines.bistil_task import bistil_task
from polycompress.pipelines.distil import distil
from polycompress.pipelines.distilling.general_config import MIN_SHARE
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.mlm import mlm
from polycompress.pipelines.trim import trim

SEEDS = {"sib200": 3}
"""Of each task; one of others."""
TUNING_STEPS = {"xnli": 540}
"""Of every model on a task whose usual number of epochs would take hours: one epoch; others take the usual number."""
FULL = "sw"
"""The target language with the whole table."""
TASK_TEXTS = 5000
"""Texts of each language that the tuned teacher answers, where a student learns of its answers to text."""
MORE_WORDS = 50_000
"""Tokens of a vocabulary by word frequencies as well: a quarter of the teacher's bytes, with six layers."""
SHORTEST = 6
"""Words of a text that makes a pair."""

LOSSES = {"hidden_loss": "relative", "vector_weight": 5.0, "attention_weight": 10.0}
"""Of distilled students; each about as large as the first at the end, that of attention far smaller."""

Learning = Literal["labels", "trimming", "sparse", "text"]


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table, before a task is learnt."""

    name: str
    make: Callable[[], Path]
    """Its directory, made where it is missing."""
    learning: Learning = "labels"
    """How it learns tasks: by fine-tuning on labels; not at all, the tuned teacher being trimmed; sparsely, of the
    tuned teacher, on the task's texts; or of the tuned teacher's answers to unlabelled text of both languages, then to
    the task's texts, and of its labels."""
    tasks: tuple[str, ...] = ()
    """Those that it learns; none given: all."""
    has_more_words: bool = False
    """Whether its vocabulary is that of the built-in word frequencies too, not that of the text alone."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where everything lies, and what everything is made with."""

    runs: Path
    data: Path
    model: str
    steps: int
    collects: bool = False
    """Whether nothing is made, and what is missing is left out."""

    def text(self, *codes: str) -> list[str]:
        """The pack's text of some languages."""
        return [f"{code}={self.data / 'text' / code}.txt.gz" for code in codes]

    def all_codes(self) -> list[str]:
        """Every language with text."""
        return sorted(file.name.removesuffix(".txt.gz") for file in (self.data / "text").glob("*.txt.gz"))

    def cut(self, model: str | Path, target: str, out: Path, more_words: bool) -> None:
        """A model trimmed to what text of both languages holds, or to what their word frequencies name as well."""
        share, size = (None, MORE_WORDS) if more_words else (MIN_SHARE, None)
        langs, corpus = ["en", target], self.text("en", target)
        trim(model, langs=langs, corpus=corpus, min_share=share, size=size, frequencies=more_words, out=out)

    def more_words(self, target: str) -> Path:
        """The teacher with the vocabulary of word frequencies too."""
        out = self.runs / target / "more-words"
        if not self.collects and not out.is_dir():
            self.cut(self.model, target, out, more_words=True)
        return out

    def student(self, target: str, name: str, more_words: bool = False, **settings: Any) -> Path:
        """A distilled student's run."""
        out = self.runs / target / name
        codes = self.all_codes() if target == "all" else ["en", target]
        if not self.collects and not (out / "final").is_dir():
            model = self.model
            if more_words:
                model, settings["trim"] = str(self.more_words(target)), False
            bistil_general(
                model,
                source="en",
                target=",".join(code for code in codes if code != "en"),
                corpus=self.text(*codes),
                out=out,
                settings={"text": text_settings(self.steps), **LOSSES, **settings},
                resume=out.exists(),
            )
        return out

    def scratch(self, target: str, like: Path) -> Path:
        """A student of random weights, pretrained on the same text."""
        out = self.runs / target / "scratch-6"
        if not self.collects and not (out / "final").is_dir():
            start = self.runs / target / "random-6"
            if not start.is_dir():
                write_random(like, start)
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
            "optimiser": {"learning_rate": 5e-4, "weight_decay": 0.0},
            "snapshots": {"every_steps": 250},
        },
        "batching": {"token_budget": 512},
        "masked": False,
    }


def write_random(like: Path, out: Path) -> None:
    """A model directory of the same shape, tokenizer and all, with random weights of seed 0."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    building = out.with_name(f".{out.name}")
    shutil.copytree(like, building, dirs_exist_ok=True)
    AutoModel.from_config(AutoConfig.from_pretrained(like)).save_pretrained(building)
    building.rename(out)


def models(room: Room, target: str) -> Iterator[Model]:
    """The rows of a target language; none is made before it is asked for."""

    def distilled(name: str, part: str, **settings: Any) -> Callable[[], Path]:
        return lambda: room.student(target, name, **settings) / part

    six = functools.partial(distilled, "distilled-6", shape={"layers": 6})
    yield Model("teacher", lambda: Path(room.model))
    yield Model("trimmed", six("teacher"), "trimming")
    yield Model("copied-6", six("start"))
    yield Model("distilled-6", six("final"))
    yield Model("distilled-6, taught on text", six("final"), "text")
    if find_language(target).wordfreq is not None:
        more = functools.partial(distilled, "distilled-6-more-words", shape={"layers": 6}, more_words=True)
        yield Model("trimmed, more words", lambda: room.more_words(target), "trimming", has_more_words=True)
        yield Model("distilled-6, more words, taught on text", more("final"), "text")
    if target != FULL:
        return
    for layers in (4, 3):
        yield Model(
            f"distilled-{layers}", distilled(f"distilled-{layers}", "final", shape={"layers": layers})
        )
    relations = {
        "hidden_weight": 0.0,
        "vector_weight": 0.0,
        "attention_weight": 1.0,
        "attention": "relations",
        "relation_heads": 12,
    }
    yield Model("minilmv2-6", distilled("minilmv2-6", "final", shape={"layers": 6}, **relations))
    yield Model("scratch-6", lambda: room.scratch(target, six("start")()))
    yield Model(
        "multilingual-6",
        lambda: room.student("all", "multilingual-6", shape={"layers": 6}, trim=False) / "final",
    )
    yield Model("distilled-6, taught sparsely", six("final"), "sparse", ("sib200",))


def tuned(room: Room, target: str, model: Model, task: str) -> list[Path]:
    """The model with a task learnt, one for each seed; the teacher's are shared by all targets."""
    found = []
    for seed in range(SEEDS.get(task, 1)):
        out = teacher_of(room, task, seed)
        if model.name != "teacher":
            out = room.runs / target / f"{slug(model.name)}-{task}-{seed}"
        if not (out / "final").is_dir():
            if room.collects:
                return []
            learn(room, target, model, task, seed, out)
        found.append(out / "final")
    return found


def teacher_of(room: Room, task: str, seed: int) -> Path:
    """The run of the tuned teacher."""
    return room.runs / "teacher" / f"teacher-{task}-{seed}"


def learn(room: Room, target: str, model: Model, task: str, seed: int, out: Path) -> None:
    """One seed."""
    known = teacher_of(room, task, seed) / "final"
    if model.learning == "trimming":
        room.cut(known, target, out / "final", model.has_more_words)
    elif model.learning == "sparse":
        bistil_task(
            model.make(),
            task_teacher=known,
            task=task,
            train_langs="en",
            out=out,
            data=room.data,
            settings={"tuning": {"seed": seed, "weight_decay": 0.0, "steps": TUNING_STEPS.get(task)}},
            resume=out.exists(),
        )
    elif model.learning == "text":
        recipe = room.runs / target / f"{slug(model.name)}-{task}-{seed}.yaml"
        recipe.write_text(recipe_of(room, target, model, known, task, seed), encoding="utf-8")
        distil(recipe, out=out, data=room.data, resume=out.exists())
    else:
        finetune(
            model.make(),
            task=task,
            train_langs="en",
            out=out,
            data=room.data,
            settings={"seed": seed, "steps": TUNING_STEPS.get(task)},
            resume=out.exists(),
        )


def recipe_of(room: Room, target: str, model: Model, teacher: Path, task: str, seed: int) -> str:
    """A recipe, as JSON, which is YAML too."""
    answers = {"name": "divergence", "options": {"temperature": 2.0}}
    return json.dumps(
        {
            "name": "taught-on-text",
            "teacher": str(teacher),
            "student": {"directory": str(model.make())},
            "languages": {"source": "en", "target": target},
            "corpora": room.text("en", target),
            "training": {"seed": seed},
            "stages": [
                {
                    "name": "text",
                    "data": "task",
                    "task": task,
                    "transfer": transfer_of(room, target, task),
                    "limit": TASK_TEXTS,
                    "losses": [answers, "hidden-relative"],
                    "epochs": 1,
                    "batch_texts": 16,
                    "patience": 0,
                    "learning_rate": 2e-4,
                },
                {
                    "name": "task",
                    "data": "task",
                    "task": task,
                    "losses": [answers, "gold"],
                    "learning_rate": 1e-4,
                    **({"steps": TUNING_STEPS[task]} if task in TUNING_STEPS else {}),
                },
            ],
        },
        indent=1,
    )


def transfer_of(room: Room, target: str, task: str) -> str | list[str]:
    """What the tuned teacher answers: the text itself, or pairs of texts for a task of pairs."""
    if find_task(task).kind != "pair-classification":
        return "corpora"
    found = []
    for code in ("en", target):
        place = room.runs / target / f"pairs-{code}.txt"
        with gzip.open(room.data / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as file:
            texts = [" ".join(words) for words in map(str.split, file) if len(words) >= SHORTEST]
        pairs = pairs_of(texts, TASK_TEXTS)
        place.write_text("".join(f"{first}\t{second}\n" for first, second in pairs), encoding="utf-8")
        found.append(f"{code}={place}")
    return found


def pairs_of(texts: Sequence[str], limit: int) -> Iterator[tuple[str, str]]:
    """Each text with a half of itself, with one that shares its rarest shared word, and with any other, in turn."""
    holders: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        for word in set(text.split()):
            holders.setdefault(word, []).append(number)
    draw = random.Random(0)
    for number, text in enumerate(texts[:limit]):
        words = text.split()
        if number % 3 == 0:
            middle = len(words) // 2
            yield text, " ".join(words[:middle] if draw.random() < 0.5 else words[middle:])
            continue
        shared = [word for word in words if len(holders[word]) > 1]
        others: Sequence[int] = range(len(texts))
        if number % 3 == 1 and shared:
            others = holders[min(shared, key=lambda word: len(holders[word]))]
        other = draw.choice(others)
        while other == number:
            other = draw.choice(others)
        yield text, texts[other]


def slug(name: str) -> str:
    """For names of files."""
    return name.replace(", ", "-").replace(" ", "-")
