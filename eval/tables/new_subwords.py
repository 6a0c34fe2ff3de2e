"""Tables of README.md on new subwords and factorised tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from eval.tables.common import RESULTS, load, markdown
from polycompress.languages import find_language

NEW = tuple(find_language(name).code for name in ("yo", "ig", "zu", "rw"))
ENGLISH, GERMAN = (find_language(name).code for name in ("en", "de"))


def initialisations() -> str:
    """Each way to make new rows: the languages that got pieces, English and German, before and after an adaptation."""
    rows = [
        [
            "rows of new pieces",
            "retrieval, before",
            "after",
            "SIB-200, before",
            "after",
            "English, before",
            "after",
            "German, before",
            "after",
        ]
    ]
    for way, found in load("ofa")["ways"].items():
        times = (found["before"], found["after"])
        rows.append(
            [
                way,
                *(_mean(time["retrieval"], NEW) for time in times),
                *(_mean(time["sib200"], NEW) for time in times),
                *(_mean(time["sib200"], (ENGLISH,)) for time in times),
                *(_mean(time["sib200"], (GERMAN,)) for time in times),
            ]
        )
    return markdown(rows)


def fertility() -> str:
    """Tokens a word on held-out text, before and after the new pieces."""
    rows = [["tokens a word", "before", "after"]]
    for each in load("ofa")["tokenizer"]["languages"]:
        times = (each["before"], each["after"])
        rows.append([find_language(each["language"]).name, *(f"{time['fertility']:.2f}" for time in times)])
    return markdown(rows)


def ranks() -> str:
    """The demo model with its table factorised, by rank."""
    rows = [["rank", "weights", "retrieval", "SIB-200", "German", "English", "WikiANN, German", "MasakhaNER"]]
    every = load("ofa-ranks")["ranks"]
    for rank in sorted(map(int, every), reverse=True):
        found = every[str(rank)]
        rows.append(
            [
                str(rank),
                f"{found['sizes']['after']['bytes'] / 1e6:.0f} MB",
                _mean(found["retrieval"], NEW),
                _mean(found["sib200"], NEW),
                _mean(found["sib200"], (GERMAN,)),
                _mean(found["sib200"], (ENGLISH,)),
                _mean(found["ner-wikiann"], (GERMAN,)),
                _mean(found["ner-masakhaner"], tuple(found["ner-masakhaner"] or ())),
            ]
        )
    return markdown(rows)


def decoder() -> str:
    """A decoder with German pieces: perplexity per byte before and after some steps."""
    rows = [["rows of new pieces", "bytes per token", "German, before", "after", "English, before", "after"]]
    for way, found in load("ofa-decoder")["ways"].items():
        times = (found["before"], found["after"])
        rows.append(
            [
                way,
                f"{found['before']['de']['bytes_per_token']:.2f}",
                *(
                    "–" if time is None else f"{time[code]['perplexity_per_byte']:.3f}"
                    for code in ("de", "en")
                    for time in times
                ),
            ]
        )
    return markdown(rows)


def draw_curves() -> None:
    """Retrieval of each way over the steps of the adaptation, as a picture."""
    from matplotlib.figure import Figure

    from polycompress.report.drawing import drawing, save_picture

    found = load("ofa")
    steps = [0, *itertools.accumulate(found["steps"])]
    with drawing():
        figure = Figure(figsize=(10, 4), layout="constrained")
        for axes, code in zip(figure.subplots(1, len(NEW), sharey=True), NEW, strict=True):
            for way, each in found["ways"].items():
                axes.plot(steps, [point[code]["score"] for point in each["curve"]], marker="o", label=way)
            axes.set_title(find_language(code).name)
            axes.set_xlabel("steps")
            axes.set_xticks([steps[0], *steps[1::2]])
        figure.axes[0].set_ylabel("English found among 99 sentences")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
        save_picture(figure, RESULTS / "ofa-curves.png")


def _mean(scores: Mapping[str, Any] | None, codes: tuple[str, ...]) -> str:
    """The mean of some languages' scores, or a dash."""
    if not scores or any(code not in scores for code in codes):
        return "–"
    return f"{sum(scores[code]['score'] for code in codes) / len(codes):.3f}"
