"""What is damaged, by which kinds of damage, and which commands then read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from eval.reliability.larder import CORPUS, MLM, MODELS
from eval.reliability.mutations import Mutation, damage_bytes, damage_header, damage_json, damage_jsonl
from eval.reliability.text_mutations import damage_lines, damage_toml, damage_yaml

OUT: Final = ("--out", "out")
DATA: Final = ("--data", "../in/data", "--device", "cpu", "--limit", "4")
KINDS: Mapping[str, tuple[Mutation, ...]] = {
    ".json": (damage_json, damage_json, damage_json, damage_bytes),
    ".jsonl": (damage_jsonl, damage_jsonl, damage_bytes),
    ".safetensors": (damage_header, damage_header, damage_header, damage_bytes),
    ".toml": (damage_toml, damage_toml, damage_bytes),
    ".yaml": (damage_yaml, damage_yaml, damage_yaml, damage_bytes),
    ".conll": (damage_lines, damage_lines, damage_bytes),
    ".tsv": (damage_lines, damage_lines, damage_bytes),
    ".csv": (damage_lines, damage_bytes),
    ".txt": (damage_lines, damage_bytes),
    ".npz": (damage_bytes,),
    ".gz": (damage_bytes,),
    ".xz": (damage_bytes,),
    ".zst": (damage_bytes,),
    ".parquet": (damage_bytes,),
}
"""Damage by the end of a file's name; one that stands twice is drawn twice as often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Something of the larder that is damaged, and the commands that read it.

    Attributes:
        name: In the report.
        room: Of the larder.
        needs: What is copied for a case, relative to the larder; ``files`` lie in it.
        files: Of which one is damaged, or two.
        commands: Of which one is run, in a directory beside the larder's copy.
        torch: Whether the commands need torch.
        share: Of all cases, relative to the others.
        writes: What of the copy the commands may change, relative to the larder.
        codes: Whether no file is damaged but a language's code in the command.
    """

    name: str
    room: str
    needs: tuple[str, ...]
    files: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    torch: bool = False
    share: int = 1
    writes: tuple[str, ...] = ()
    codes: bool = field(default=False)


def _model_commands(name: str, *, experts: bool) -> tuple[tuple[str, ...], ...]:
    model, trimmed = f"../in/{name}", f"../in/{name}-de"
    upcycle = ("moe", "upcycle", model, "--langs", "de,en", "--layers", "1", *OUT, "--dry-run")
    return (
        ("inspect", model, *CORPUS),
        ("inspect", model, *CORPUS, "--json"),
        ("trim", model, *CORPUS, *OUT, "--dry-run"),
        ("trim", model, *CORPUS, "--min-count", "1", *OUT),
        ("trim", model, *CORPUS, "--min-count", "1", *OUT, "--json"),
        ("verify", model, trimmed),
        ("plan", model, *CORPUS, "--budget", "10K"),
        *((upcycle, upcycle[:-1]) if experts else ()),
    )


def _model(name: str) -> Subject:
    files = ("config.json", "tokenizer.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json")
    return Subject(
        name=f"model, {name}",
        room="models",
        needs=(name, f"{name}-de", "text/de.txt"),
        files=(
            *(f"{name}/{file}" for file in files),
            f"{name}-de/polycompress.json",
            f"{name}-de/tokenizer.json",
        ),
        commands=_model_commands(name, experts=name in ("unigram", "wordpiece")),
        share=6,
    )


SNAPSHOT: Final = tuple(
    f"snapshots/step-2/{name}" for name in ("snapshot.json", "config.json", "model.safetensors")
)
MODEL_FILES: Final = ("config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json")
SHARD_FILES: Final = (
    "model.safetensors.index.json", "model-00001-of-00002.safetensors", "modules.json", "1_Pooling/config.json",
    "generation_config.json", "special_tokens_map.json",
)  # fmt: skip
SUBJECTS: tuple[Subject, ...] = (
    *(_model(name) for name in MODELS),
    Subject(
        name="model, in shards",
        room="models",
        needs=("shards", "text/de.txt"),
        files=tuple(f"shards/{file}" for file in SHARD_FILES),
        commands=(
            ("trim", "../in/shards", *CORPUS, "--min-count", "1", *OUT),
            ("trim", "../in/shards", *CORPUS, "--min-count", "1", *OUT, "--link"),
            ("inspect", "../in/shards", *CORPUS),
        ),
        share=4,
    ),
    Subject(
        name="model, exported",
        room="models",
        needs=("unigram",),
        files=tuple(f"unigram/{file}" for file in MODEL_FILES),
        commands=(("export", "../in/unigram", "--sentence-transformers", "--pooling", "mean", *OUT),),
        torch=True,
        share=3,
    ),
    Subject(
        name="text",
        room="models",
        needs=("unigram", "text", "counts.npz"),
        files=tuple(f"text/de.{end}" for end in ("txt", "jsonl", "csv", "parquet", "txt.gz", "txt.xz", "txt.zst")),
        commands=(
            ("count", "../in/unigram", "--lang", "de", "--corpus", "../in/text/de.*", "--engine", "process",
             "--out", "out.npz"),
            ("trim", "../in/unigram", "--langs", "de", "--corpus", "../in/text/de.*", "--no-frequencies", *OUT),
        ),
        share=3,
    ),
    Subject(
        name="counts",
        room="models",
        needs=("unigram", "counts.npz"),
        files=("counts.npz",),
        commands=(("trim", "../in/unigram", "--langs", "de", "--counts", "../in/counts.npz", "--no-frequencies",
                   *OUT),),
        share=2,
    ),
    Subject(
        name="recipe of run",
        room="recipes",
        needs=("kitchen",),
        files=("kitchen/recipe.yaml",),
        commands=(
            ("run", "../in/kitchen/recipe.yaml", *OUT, "--dry-run"),
            ("run", "../in/kitchen/recipe.yaml", *OUT, "--dry-run", "--json"),
        ),
        share=8,
    ),
    Subject(
        name="recipe of distil",
        room="recipes",
        needs=("kitchen", "distil.yaml"),
        files=("distil.yaml",),
        commands=(("distil", "--config", "../in/distil.yaml", "--data", "../in/kitchen/data", *OUT, "--dry-run"),),
        torch=True,
        share=5,
    ),
    Subject(
        name="task",
        room="recipes",
        needs=("tasks", "kitchen/data"),
        files=tuple(f"tasks/{name}.toml" for name in ("ner-wikiann", "sib200", "nli-sick", "xquad")),
        commands=(
            ("tasks", "--tasks", "../in/tasks"),
            ("tasks", "sib200", "--tasks", "../in/tasks", "--data", "../in/kitchen/data", "--json"),
            ("tasks", "ner-wikiann", "--tasks", "../in/tasks", "--data", "../in/kitchen/data"),
        ),
        share=5,
    ),
    Subject(
        name="data, CoNLL",
        room="data",
        needs=("tags", "data"),
        files=("data/ner/wikiann/test.en.conll",),
        commands=(("eval", "../in/tags", "--task", "ner-wikiann", "--langs", "en", *DATA, *OUT),),
        torch=True,
        share=4,
    ),
    Subject(
        name="data, tables and questions",
        room="data",
        needs=("topics", "answers", "data"),
        files=("data/sib200/eng_Latn.tsv", "data/xquad/xquad.en.json"),
        commands=(
            ("eval", "../in/topics", "--task", "sib200", "--langs", "en", *DATA, *OUT),
            ("eval", "../in/answers", "--task", "xquad", "--langs", "en", *DATA, *OUT),
        ),
        torch=True,
        share=3,
    ),
    Subject(
        name="results and runs, shown as pages",
        room="results",
        needs=("results", "run"),
        files=("results/sib200.json", "run/config.json", "run/metrics.jsonl"),
        commands=(("report", "../in/results", "--out", "out.html"), ("report", "../in/run", "--out", "out.html")),
        share=3,
    ),
    Subject(
        name="results, compared",
        room="results",
        needs=("results",),
        files=("results/sib200.json",),
        commands=(("eval", "--compare", "../in/results/sib200.json", "../in/results/sib200.json"),),
        share=2,
    ),
    Subject(
        name="run, taken up",
        room="results",
        needs=("kitchen", "text/de.txt", "broken"),
        files=tuple(f"broken/{file}" for file in ("config.json", "metrics.jsonl", *SNAPSHOT)),
        commands=((*MLM, "--out", "../in/broken", "--resume"),),
        torch=True,
        writes=("broken",),
        share=2,
    ),
    Subject(
        name="families of experts",
        room="models",
        needs=("unigram", "families.tsv"),
        files=("families.tsv",),
        commands=(
            ("moe", "upcycle", "../in/unigram", "--families", "../in/families.tsv", "--langs", "de,en", "--layers", "1",
             *OUT, "--dry-run"),
        ),
        share=2,
    ),
    Subject(
        name="codes of languages",
        room="models",
        needs=("text/de.txt",),
        files=(),
        commands=(
            ("languages", "{code}"), ("languages", "{code}", "--json"), ("languages", "--family", "{code}"),
            ("languages", "--script", "{code}"), ("languages", "--covered-by", "{code}"),
            ("trim", "../in/none", "--langs", "{code}", *OUT),
            ("languages", "--preset", "{code}", "--family", "Turkic"),
        ),
        share=4,
        codes=True,
    ),
)  # fmt: skip
