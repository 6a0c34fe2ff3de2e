"""Tables of README.md on training and scores."""

from __future__ import annotations

import json

from eval.tables.common import RESULTS, markdown, mean_score, ratios


def training_speed() -> str:
    """What was wanted of the engine, and what was found."""
    rows = [["what", "found", "wanted"]]
    for name in ("engine-speed", "engine-bf16", "batching-speed"):
        rows += ratios(name)
    return markdown(rows)


def distillation_speed() -> str:
    """The same of distillation."""
    return markdown([["what", "found", "wanted"], *ratios("distil-speed")])


def scores() -> str:
    """Tasks: the source language, all others, and a bag of words on the languages it can be trained in."""
    rows = [
        [
            "task",
            "metric",
            "English",
            "zero-shot, mean",
            "languages",
            "German",
            "Swahili",
            "bag of words, German",
        ]
    ]
    for path in sorted((RESULTS / "cross-lingual").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("kind") != "evaluation":
            continue
        by_language: dict[str, list[float]] = {}
        for row in found["scores"]:
            by_language.setdefault(row["language"], []).append(row["score"])
        zero_shot = found["averages"]["zero-shot"]
        in_language = ((found["baseline"] or {}).get("scores") or {}).get("in-language", {})
        rows.append(
            [
                found["task"],
                found["metric"],
                *(mean_score(by_language.get(code)) for code in ("eng-Latn",)),
                mean_score([zero_shot["mean"]]),
                str(zero_shot["languages"]),
                *(mean_score(by_language.get(code)) for code in ("deu-Latn", "swh-Latn")),
                mean_score([in_language["deu-Latn"]] if in_language.get("deu-Latn") is not None else None),
            ]
        )
    return markdown(rows)
