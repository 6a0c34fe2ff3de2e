"""Tables of README.md on experts of language families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eval.runs.experts_models import CODES, FAMILIES, PAIRS
from eval.tables.common import load, markdown, mean_score, ratios

TASKS = {"retrieval": "retrieval", "sib200": "SIB-200"}


def against_dense() -> str:
    """Dense students and those with experts: size, scores, SIB-200 by family, and what both tasks are of dense's."""
    found = load("experts")
    rows = [["model", "parameters", "a token meets", *TASKS.values(), *FAMILIES, "SIB-200 of dense (95 %)"]]
    for name, facts in found["models"].items():
        score = _scores(found, name)
        rows.append(
            [
                name,
                *(f"{facts[what] / 1e6:.2f}M" for what in ("parameters", "active_parameters")),
                *(score(task, CODES) for task in TASKS),
                *(score("sib200", codes) for codes in FAMILIES.values()),
                _share(found["of_dense"].get(name, {}).get("sib200")),
            ]
        )
    return markdown(rows)


def entities() -> str:
    """The same models on entities."""
    found = load("experts-ner")
    rows = [["model", "WikiANN", "of dense (95 %)", "MasakhaNER", "of dense (95 %)"]]
    for name in found["models"]:
        score, of_dense = _scores(found, name), found["of_dense"].get(name, {})
        cells = [
            [score(task, CODES), _share(of_dense.get(task))] for task in ("ner-wikiann", "ner-masakhaner")
        ]
        rows.append([name, *cells[0], *cells[1]])
    return markdown(rows)


def one_family() -> str:
    """What is taken out of a model with experts, a dense student trimmed likewise, and a bilingual one."""
    found = load("experts-families")
    rows = [["family", "languages", "student", "weights", *TASKS.values(), "SIB-200 of bilingual (95 %)"]]
    for name, facts in found["models"].items():
        kind, family = name.rsplit(", ", 1)
        score = _scores(found, name)
        rows.append(
            [
                family,
                ", ".join(PAIRS[family]),
                kind,
                f"{facts['weight_bytes'] / 1e6:.0f} MB",
                *(score(task, PAIRS[family]) for task in TASKS),
                _share(found["of_bilingual"].get(name, {}).get("sib200")),
            ]
        )
    return markdown(rows)


def routes() -> str:
    """Where tokens go, by routing and layer: means over languages."""
    rows = [
        [
            "routing",
            "layer",
            "reach their own family's expert",
            "entropy",
            "router's doubt",
            "overlap",
            "moved",
        ]
    ]
    for routing, found in load("experts-routes")["routing"].items():
        for layer, seen in found["layers"].items():
            moved = (found["drift"] or {}).get(layer, {})
            own = seen["languages"].values()
            rows.append(
                [
                    routing,
                    layer,
                    f"{_mean(each['own_family'] for each in own):.0%}",
                    *(f"{_mean(each[what] for each in own):.2f}" for what in ("entropy", "uncertainty")),
                    f"{found['mean_overlap'][layer]:.0%}",
                    f"{_mean(moved.values()):.0%}" if moved else "–",
                ]
            )
    return markdown(rows)


def speed() -> str:
    """What experts cost, where it was measured."""
    measured = [row for row in ratios("moe-speed") if row[1] != "not measured"]
    return markdown([["what", "found", "wanted"], *measured])


def _scores(found: Mapping[str, Any], name: str) -> Callable[[str, Iterable[str]], str]:
    """The mean score of a model on a task over some languages."""

    def score(task: str, languages: Iterable[str]) -> str:
        wanted = {CODES[code] for code in languages}
        return mean_score(
            [
                row["score"]
                for row in found["scores"]
                if (row["model"], row["task"]) == (name, task) and row["language"] in wanted
            ]
        )

    return score


def _share(share: Mapping[str, float] | None) -> str:
    """A share with its interval."""
    return "–" if share is None else f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _mean(values: Iterable[float]) -> float:
    some = list(values)
    return sum(some) / len(some)
