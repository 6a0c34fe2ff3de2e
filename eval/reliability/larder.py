"""Small sound inputs of every kind: models, what is made of them, text, data, recipes, results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eval.reliability.hostile_values import MARKUP
from eval.reliability.warm import REPOSITORY
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import CATEGORIES, make_pack
from tests.pipelines.tiny_recipes import SMALL, make_kitchen, recipe_of, write_recipe
from tests.tampering import put, shards
from tests.tiny_models import make_tiny

MODELS: Final = {
    "unigram": ("xlm-roberta", "mlm"), "wordpiece": ("bert", "mlm"), "bytes": ("roberta", "mlm"),
    "bpe": ("llama", "clm"),
}  # fmt: skip
TAGS: Final = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
CORPUS: Final = ("--langs", "de", "--corpus", "de=../in/text/de.txt", "--no-frequencies")
DISTIL: Final = """\
name: tiny
teacher: ./kitchen/model
student: {layers: 1}
languages: {source: en, target: de}
corpora: [en=kitchen/en.txt, de=kitchen/de.txt]
training: {device: cpu, seed: 0}
stages:
  - name: general
    losses:
      - name: hidden-relative
      - name: attention-mse
        weight: 10.0
      - name: sentence-vectors
        options: {distance: cosine}
    masked: false
    steps: 3
  - name: tuned-teacher
    kind: tune
    task: sib200
    steps: 3
  - name: task
    data: task
    task: sib200
    teacher: tuned-teacher
    losses:
      - {name: divergence, options: {temperature: 2.0}}
    steps: 3
"""
MLM: Final = (
    "mlm", "../in/kitchen/model", "--corpus", "de=../in/text/de.txt", "--steps", "4", "--log-every", "1",
    "--device", "cpu", "--snapshot-every", "2", "--max-length", "32", "--batch-tokens", "200",
)  # fmt: skip
MODULES: Final = (
    '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},'
    ' {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]'
)
POOLING: Final = (
    '{"word_embedding_dimension": 16, "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}'
)


def polycompress(*arguments: str, cwd: Path) -> None:
    """Run a command that must succeed.

    Raises:
        RuntimeError: It did not.
    """
    done = subprocess.run(
        [sys.executable, "-m", "polycompress", *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")


def fill(root: Path, rooms: Sequence[str] = ("models", "recipes", "data", "results")) -> Path:
    """Make the inputs of some rooms under a directory ``in``; see the functions below for what lies there."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "desk").mkdir(exist_ok=True)
    stock = root / "in"
    (stock / "text").mkdir(parents=True, exist_ok=True)
    make_kitchen(stock / "kitchen")
    shutil.copy(stock / "kitchen" / "de.txt", stock / "text" / "de.txt")
    for room in rooms:
        {"models": _models, "recipes": _recipes, "data": _data, "results": _results}[room](stock)
    (root / "desk").rmdir()
    return stock


def _models(stock: Path) -> None:
    """``NAME`` and its trim ``NAME-de`` for every kind of tokenizer; ``shards``; text in several formats; counts."""
    cwd = stock.parent / "desk"
    for name, (family, head) in MODELS.items():
        model = make_tiny(family, head, stock / name, vocab_size=400)
        polycompress(
            "trim", str(model), *CORPUS, "--min-count", "1", "--out", str(stock / f"{name}-de"), cwd=cwd
        )
    shutil.copytree(stock / "unigram", stock / "shards")
    (stock / "shards" / "1_Pooling").mkdir()
    for tamper in (
        shards,
        put("modules.json", MODULES),
        put("1_Pooling/config.json", POOLING),
        put(
            "generation_config.json",
            '{"bad_words_ids": [[5, 6]], "forced_eos_token_id": 2, "suppress_tokens": [7]}',
        ),
        put(
            "special_tokens_map.json",
            '{"unk_token": "<unk>", "pad_token": {"content": "<pad>", "lstrip": false}}',
        ),
    ):
        tamper(stock / "shards")
    (stock / "families.tsv").write_text(
        "deu-Latn\tGermanic\neng-Latn\tGermanic\ntur-Latn\tTurkic\n", encoding="utf-8"
    )
    lines = (stock / "text" / "de.txt").read_text("utf-8").splitlines()
    records = "".join(json.dumps({"text": line, "id": n}) + "\n" for n, line in enumerate(lines))
    (stock / "text" / "de.jsonl").write_text(records, encoding="utf-8")
    (stock / "text" / "de.csv").write_text(
        "id,text\n" + "".join(f'{n},"{x}"\n' for n, x in enumerate(lines)), "utf-8"
    )
    _compressed(stock / "text", "\n".join(lines).encode())
    polycompress(
        "count", "../in/unigram", "--lang", "de", "--corpus", "../in/text/de.txt", "--out", "../in/counts.npz",
        "--engine", "process", cwd=cwd,
    )  # fmt: skip


def _compressed(folder: Path, raw: bytes) -> None:
    import gzip
    import lzma

    import pyarrow
    import pyarrow.parquet
    import zstandard

    (folder / "de.txt.gz").write_bytes(gzip.compress(raw))
    (folder / "de.txt.xz").write_bytes(lzma.compress(raw))
    (folder / "de.txt.zst").write_bytes(zstandard.ZstdCompressor().compress(raw))
    pyarrow.parquet.write_table(pyarrow.table({"text": raw.decode().split("\n")}), folder / "de.parquet")


def _recipes(stock: Path) -> None:
    """``recipe.yaml`` and ``distil.yaml`` on the models and text of ``kitchen``; own tasks in ``tasks``."""
    stages = (
        SMALL,
        {"name": "check", "do": "verify"},
        {"name": "student", "do": "bistil general", "model": "small",
         "options": {"no-trim": True, "layers": 1, "steps": 4, "device": "cpu", "learning-rate": "5e-4"}},
        {"name": "topics", "do": "finetune", "model": "student", "options": {"task": "sib200", "steps": 4}},
        {"name": "scores", "do": "eval", "model": "topics", "options": {"task": "sib200"}},
        {"name": "report", "do": "report"},
    )  # fmt: skip
    write_recipe(stock / "kitchen", recipe_of(*stages))
    (stock / "distil.yaml").write_text(DISTIL, encoding="utf-8")
    (stock / "tasks").mkdir()
    for name in ("ner-wikiann", "sib200", "nli-sick", "xquad"):
        shutil.copy(REPOSITORY / "eval" / "tasks" / f"{name}.toml", stock / "tasks" / f"{name}.toml")


def _data(stock: Path) -> None:
    """``data``, a data directory, and a model for each kind of task: ``topics``, ``tags``, ``answers``."""
    make_pack(stock / "data", examples=6)
    tiny("xlm-roberta", "sequence", stock / "topics", CATEGORIES, vocab_size=350)
    tiny("xlm-roberta", "token", stock / "tags", TAGS, vocab_size=350)
    tiny("xlm-roberta", "qa", stock / "answers", vocab_size=350)


def _results(stock: Path) -> None:
    """``results`` of evaluations, with their names made hostile, and ``run``, a training run."""
    make_pack(stock / "pack", examples=6)
    cwd, model = stock.parent / "desk", stock / "judged"
    tiny("xlm-roberta", "sequence", model, CATEGORIES, vocab_size=350)
    asked = ("--task", "sib200", "--langs", "en,de", "--data", "../in/pack", "--device", "cpu")
    polycompress("eval", "../in/judged", *asked, "--out", "../in/results", cwd=cwd)
    polycompress(*MLM, "--out", "../in/run", cwd=cwd)
    shutil.copytree(stock / "run", stock / "broken")
    shutil.rmtree(stock / "broken" / "final")
    shutil.rmtree(stock / "broken" / "snapshots" / "step-4")
    for folder in ("snapshots", "final"):
        shutil.rmtree(stock / "run" / folder, ignore_errors=True)
    for path in (*(stock / "results").glob("*.json"), stock / "run" / "config.json"):
        path.write_text(path.read_text("utf-8").replace("../in/", json.dumps(MARKUP)[1:-1]), encoding="utf-8")
