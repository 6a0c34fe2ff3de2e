"""A directory with a tiny model, text, a data pack, and recipes on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from polycompress.cli.recipe_commands import recipe_command
from polycompress.pipelines.recipes.reading import Findings, read_recipe
from polycompress.pipelines.run import RunResult, run_recipe
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import write_corpora
from tests.tiny_models import make_tiny

SMALL: Mapping[str, Any] = {
    "name": "small",
    "do": "trim",
    "options": {"no-frequencies": True, "min-count": 1},
}


def make_kitchen(root: Path) -> Path:
    """What recipes name: ``model``, ``en.txt``, ``de.txt``, ``data``."""
    make_tiny("xlm-roberta", "base", root / "model", vocab_size=350)
    write_corpora(root, {"en": 40, "de": 40})
    make_pack(root / "data")
    return root


def recipe_of(*stages: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A recipe on a kitchen."""
    return {
        "name": "tiny",
        "model": "./model",
        "languages": ["en", "de"],
        "corpora": ["en=en.txt", "de=de.txt"],
        "data": "data",
        **fields,
        "stages": list(stages),
    }


def write_recipe(root: Path, recipe: Mapping[str, Any], name: str = "recipe.yaml") -> Path:
    path = root / name
    path.write_text(yaml.safe_dump(dict(recipe), sort_keys=False), encoding="utf-8")
    return path


def read(root: Path, *stages: Mapping[str, Any], **fields: Any) -> Findings:
    """A recipe, written and read."""
    return read_recipe(write_recipe(root, recipe_of(*stages, **fields)), recipe_command)


def run(path: Path, out: Path, *settings: str, dry_run: bool = False) -> RunResult:
    return run_recipe(path, recipe_command, out=out, settings=settings, dry_run=dry_run)


def states(result: RunResult) -> dict[str, str]:
    """Of a run or a plan, by stage."""
    return {each["name"]: each["state"] for each in result.as_dict()["stages"]}


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but ``run.json``, which alone holds times."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }
