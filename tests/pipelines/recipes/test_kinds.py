"""Every kind of stage, carried out whole and in pieces: the same files, and no time in any of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polycompress.cli.recipe_commands import recipe_command
from polycompress.pipelines.recipes.kinds import KINDS
from polycompress.pipelines.recipes.planning import Planned
from polycompress.pipelines.run import run_recipe
from polycompress.pipelines.trimming import gathering
from tests.pipelines.tiny_recipes import SMALL, contents, make_kitchen, recipe_of, run, states, write_recipe
from tests.pipelines.tiny_runs import Killed

LEARN = {"max-length": 48, "device": "cpu"}
TASK = {"task": "sib200", **LEARN}
PIECES = {"init": "pieces", "pieces": 20, "force": True}
STAGES: tuple[Mapping[str, Any], ...] = (
    SMALL,
    {"name": "check", "do": "verify"},
    {
        "name": "look",
        "do": "inspect",
        "options": {
            "corpus": ["en=en.txt", "de=de.txt"],
            "plot-overlap": "shared.svg",
            "no-frequencies": True,
        },
    },
    {
        "name": "plus",
        "do": "ofa",
        "options": {"extend": "de", "corpus": "de=new.txt", "check": ["en", "de=de.txt"], **PIECES},
    },
    {"name": "factors", "do": "factorise", "options": {"rank": 8}},
    {"name": "experts", "do": "moe upcycle", "model": "small", "options": {"layers": 1}},
    {"name": "routed", "do": "moe train", "options": {"teacher": "small", "steps": 2, **LEARN}},
    {"name": "routes", "do": "moe routes", "model": "routed", "options": {"texts": 4, **LEARN}},
    {"name": "family", "do": "moe extract", "model": "routed", "options": {"family": "Germanic"}},
    {"name": "more", "do": "mlm", "model": "small", "options": {"steps": 2, **LEARN}},
    {
        "name": "student",
        "do": "bistil general",
        "options": {"no-trim": True, "layers": 1, "steps": 2, **LEARN},
    },
    {"name": "sparse", "do": "bistil task", "options": {"teacher": "more", "steps": 2, "task": "sib200"}},
    {
        "name": "taught",
        "do": "distil",
        "model": "small",
        "options": {"config": "inner.yaml", "student": "student", "set": ["stages.general.steps=2"]},
    },
    {"name": "topics", "do": "finetune", "model": "student", "options": {"steps": 2, **TASK}},
    {"name": "sentences", "do": "export", "options": {"sentence-transformers": True}},
    {"name": "scores", "do": "eval", "model": "topics", "options": {"teacher": "sparse", **TASK}},
    {"name": "page", "do": "report"},
)
INNER = """
stages:
  - {name: general, losses: [hidden-mse], steps: 1, max_length: 48, batch_tokens: 300, device: cpu}
  - {name: words, task: sib200, teacher: none, steps: 2, device: cpu}
"""
SPEED: tuple[Mapping[str, Any], ...] = (
    {"name": "speed", "do": "bench", "models": ["model", "model"], "options": {"rounds": 1, "batch": "1"}},
)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_kitchen(tmp_path_factory.mktemp("kitchen"))
    words = (
        "Donaudampfschifffahrt",
        "Kapitänsmütze",
        "Zuckerwattestand",
        "Regenbogenforelle",
        "Schneeflocke",
    )
    lines = (" ".join(words[(row * k) % 5] for k in range(1, 5)) + f" {row}" for row in range(400))
    (root / "new.txt").write_text("\n".join(lines), encoding="utf-8")
    (root / "inner.yaml").write_text(INNER, encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def short_word_lists(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(gathering, "FORMS", 2_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 500)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_every_kind_is_tried_here() -> None:
    assert {stage["do"] for stage in (*STAGES, *SPEED)} == set(KINDS)


@pytest.mark.slow
def test_in_pieces_it_leaves_what_it_leaves_whole(kitchen: Path, tmp_path: Path) -> None:
    path = write_recipe(kitchen, recipe_of(*STAGES))
    planned = run(path, tmp_path / "whole", dry_run=True).plan
    done = run(path, tmp_path / "whole")
    assert set(states(done).values()) == {"done"}
    assert done.stages is not None
    sizes = {each.planned.stage.name: each.bytes for each in done.stages}
    known = {each.stage.name: each.at_most for each in planned.stages if each.at_most is not None}
    assert len(known) >= 11
    assert {name: (sizes[name], most) for name, most in known.items() if sizes[name] > most} == {}

    def kill(planned: Planned, what: str) -> None:
        if what == "ended":
            raise Killed

    for _ in STAGES:
        with pytest.raises(Killed):
            run_recipe(path, recipe_command, out=tmp_path / "pieces", tell=kill)
    assert set(states(run(path, tmp_path / "pieces")).values()) == {"finished before"}
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "pieces") == whole
    today = datetime.datetime.now(datetime.UTC).date().isoformat().encode()
    for name, content in whole.items():
        assert today not in content, name
        assert b'"machine"' not in content, name
        assert b"work/" not in content, name


@pytest.mark.slow
def test_a_benchmark_keeps_its_times(kitchen: Path, tmp_path: Path) -> None:
    fields = {"length": "8", "precision": "fp32"}
    stage = {**SPEED[0], "models": ["model"], "options": {**SPEED[0]["options"], **fields}}
    path = write_recipe(kitchen, recipe_of(stage, {"name": "page", "do": "report"}), "speed.yaml")
    run(path, tmp_path / "run")
    stages = tmp_path / "run" / "stages"
    assert b'"tokens_per_second"' in (stages / "1-speed" / "bench.json").read_bytes()
    assert b'"tokens_per_second"' in (stages / "1-speed.json").read_bytes()
    assert "of speeds, how many times as fast" in (stages / "2-page" / "report.html").read_text(
        encoding="utf-8"
    )
