"""Runs of recipes, made up: what stages leave, without the models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from polycompress.modeldir.manifest import write_manifest
from tests.report.result_examples import make_bench, make_result, write

LANGUAGES = ("deu-Latn", "swh-Latn")
SIZES = {"model": 118_000_000, "small": 32_000_000, "student": 22_000_000}


def make_recipe_run(root: Path, *, finished: int = 8, name: str = "tiny", model: str = "demo") -> Path:
    """A run of nine stages, so many of them finished; the last is a report, which has left nothing."""
    stages = _stages(root)
    recipe = {
        "name": name,
        "model": model,
        "languages": list(LANGUAGES),
        "stages": [
            {"name": stage, "do": do, "models": list(takes), "options": {}} for stage, do, takes, _ in stages
        ],
    }
    (root / "stages").mkdir(parents=True)
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    (root / "recipe.yaml").write_text(text, encoding="utf-8")
    for number, (stage, do, takes, result) in enumerate(stages[:finished], start=1):
        _leave(root, number, stage, do, takes, result)
    times = {stage: {"do": do, "seconds": 1.5 * number} for number, (stage, do, _, _) in enumerate(stages, 1)}
    machine = {"processor": "made up", "cores": 2}
    put(
        root / "run.json", {"recipe": name, "machine": machine, "versions": {"numpy": "2.0"}, "stages": times}
    )
    return root


def put(path: Path, value: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def change(path: Path, **fields: Any) -> None:
    """Other values of some fields of a JSON file."""
    put(path, {**json.loads(path.read_text(encoding="utf-8")), **fields})


def sizes(before: str, after: str) -> dict[str, Any]:
    return {
        "before": {
            "parameters": SIZES[before],
            "embedding_parameters": SIZES[before] // 2,
            "bytes": SIZES[before] // 10_000,
        },
        "after": {"parameters": SIZES[after], "embedding_parameters": SIZES[after] // 2, "vocab": 28_000},
    }


def certificate() -> dict[str, Any]:
    language = {
        "source": "held-out lines", "texts": 100, "identical": 90, "kept_only": 90, "kept_only_identical": 90,
        "fertility_before": 1.6, "fertility_after": 1.75,
    }  # fmt: skip
    return {
        "passed": True,
        "rows": {"rows": 28_000, "identical": 28_000},
        "languages": dict.fromkeys(LANGUAGES, language),
    }


def routing() -> dict[str, Any]:
    """As `moe routes` prints it."""
    rows = {code: {"shares": [0.9 - 0.5 * place, 0.1 + 0.5 * place]} for place, code in enumerate(LANGUAGES)}
    return {
        "languages": dict(zip(LANGUAGES, ("Germanic", "Bantu"), strict=True)),
        "families": {"Germanic": [0], "Bantu": [1]}, "experts": 2, "top_k": 1,
        "layers": {"3": {"languages": rows}},
    }  # fmt: skip


def _stages(root: Path) -> Sequence[tuple[str, str, tuple[str, ...], Mapping[str, Any] | None]]:
    plan = {"sizes": sizes("model", "small"), "coverage": {"deu-Latn": 0.999}, "unseen": {"deu-Latn": 0.01}}
    return (
        ("small", "trim", ("model",), {"plan": plan, "certificate": certificate()}),
        ("check", "verify", ("model", "small"), {"certificate": certificate()}),
        ("student", "bistil general", ("small",), {"sizes": sizes("small", "student")}),
        ("routes", "moe routes", ("small",), routing()),
        ("before", "eval", ("small",), {}),
        ("scores", "eval", ("student",), {}),
        ("speed", "bench", ("model", "small", "student"), {}),
        (
            "look",
            "inspect",
            ("small",),
            {"profiles": {"swh-Latn": {"text": "words", "tokens_per_word": 1.9}}},
        ),
        ("page", "report", (), None),
    )


def _leave(
    root: Path, number: int, name: str, do: str, takes: tuple[str, ...], result: Mapping[str, Any] | None
) -> None:
    """What a finished stage leaves."""
    place = root / "stages" / f"{number}-{name}"
    digest = "0123456789abcdef" * 4
    models = [
        {"model": "model", "files": {"config.json": digest}}
        if each == "model"
        else {"stage": each, "key": f"key of {each}"}
        for each in takes
    ]
    identity = {"tool": "0.1.0", "do": do, "models": models, "named": {}, "texts": {}, "examples": []}
    typed = [
        "polycompress",
        *do.split(),
        "--corpus",
        "a b.txt",
        "--corpus",
        "c.txt",
        "--out",
        f"stages/{place.name}",
    ]
    record = {
        "name": name,
        "do": do,
        "key": f"key of {name}",
        "identity": identity,
        "typed": typed,
        "result": result,
    }
    put(root / "stages" / f"{place.name}.json", record)
    if name == "small":
        _model(place, sizes("model", "small"), {"name": "e5", "license": "mit", "revision": "abc"})
    if name == "student":
        _model(place / "final", sizes("small", "student"), {"name": "1-small"})
        put(place / "config.json", {"source": {"name": "1-small"}, "settings": {"training": {"steps": 40}}})
        lines = [
            {
                "step": step,
                "steps": 40,
                "loss": 1 / step,
                "learning_rate": 0.001,
                "language_tokens": {"deu-Latn": step},
            }
            for step in (10, 20, 30, 40)
        ]
        (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if do == "eval":
        _judge(place, takes[0])
    if do == "bench":
        _time(place)


def _model(folder: Path, size: Mapping[str, Any], source: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True)
    write_manifest(
        folder, {"tool": {"name": "polycompress"}, "command": [], "source": source, "sizes": size, "seed": 7}
    )
    (folder / "model.safetensors").write_bytes(bytes(size["after"]["parameters"] // 10_000))


def _judge(place: Path, taken: str) -> None:
    number = {"small": 1, "student": 3}[taken]
    scores = {code: 0.9 / number - index / 20 for index, code in enumerate(LANGUAGES)}
    loyalty = {"teacher": "1-small", "scores": {code: {"label": 0.8} for code in LANGUAGES}}
    more = {"loyalty": loyalty} if taken == "student" else {}
    found = make_result("sib200", f"{number}-{taken}", scores, parameters=SIZES[taken], **more)
    found["model"]["path"] = f"stages/{number}-{taken}"
    found["versions"] = {"torch": "2.13"}
    write(place / "sib200.json", found)


def _time(place: Path) -> None:
    found = make_bench()
    places = {"demo": "demo", "1-small": "stages/1-small", "3-student": "stages/3-student"}
    first = found["models"][0]
    found["models"] = []
    for rank, (name, path) in enumerate(places.items(), start=1):
        timing = {"p50_ms": 9.0, "p95_ms": 9.5, "tokens_per_second": 900.0 * rank}
        found["models"].append({**first, "name": name, "path": path, "timings": [timing]})
    found["ratios"] = {
        key: {name: [*values, values[-1]] for name, values in part.items()} if isinstance(part, dict) else
        [{**each, "speedup": [*each["speedup"], 2.0]} for each in part]
        for key, part in found["ratios"].items()
    }  # fmt: skip
    put(place / "bench.json", found)
