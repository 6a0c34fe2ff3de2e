"""A directory of runs, made of tiny models on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.tiny_models import make_tiny

HOSTILE = '<img src=x onerror="window.owned=1">'
"""A name that a directory may have, and that would act if a page took it for markup."""


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def manifest(**fields: Any) -> dict[str, Any]:
    return {"schema": 1, "source": {"name": "owner/source"}, **fields}


def make_model(path: Path, head: str = "base", **fields: Any) -> Path:
    make_tiny("xlm-roberta", head, path, vocab_size=350)
    write_json(path / "polycompress.json", manifest(**fields))
    return path


def make_training(path: Path, *, finished: bool = True) -> Path:
    """A training run with a line of figures."""
    write_json(
        path / "config.json",
        {
            "command": ["polycompress", "mlm"],
            "source": {"name": "tiny"},
            "languages": [{"code": "deu-Latn", "name": "German"}],
            "settings": {"training": {"steps": 2}},
        },
    )
    (path / "metrics.jsonl").write_text(
        '{"step": 1, "steps": 2, "loss": 3.5}\n{"step": 2, "steps": 2, "loss": 2.5}\n'
    )
    if finished:
        (path / "final").mkdir()
    return path


def make_recipe_run(path: Path, **fields: Any) -> Path:
    """A recipe's run with one finished stage."""
    (path / "stages").mkdir(parents=True)
    recipe = {"name": "tiny", "model": "demo", "languages": ["deu-Latn", "swh-Latn"], "stages": [], **fields}
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    stages = {"small": {"do": "trim", "began": "2026-01-02T03:04:05+00:00"}}
    write_json(path / "run.json", {"recipe": "tiny", "stages": stages})
    (path / "lock").touch()
    return path
