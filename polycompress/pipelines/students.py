"""Shapes of students that a budget holds, ranked without training any."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from polycompress.corpora import Reading, parse_corpora
from polycompress.distill.diswot import Score
from polycompress.distill.layers import count_layers
from polycompress.distill.shapes import (
    Shape,
    Width,
    enumerate_shapes,
    layer_options,
    width_options,
    within_budget,
)
from polycompress.errors import InputError
from polycompress.languages import find_languages
from polycompress.pipelines.distilling.faults import Gathered
from polycompress.pipelines.distilling.search_models import (
    can_narrow,
    latency_ms,
    teacher_width,
    width_cost,
)
from polycompress.pipelines.distilling.search_request import (
    RankedStudent,
    SearchSettings,
    StudentsResult,
    Unit,
    parse_limit,
)
from polycompress.pipelines.distilling.search_scores import kept_vocabularies, score_shapes
from polycompress.pipelines.trimming.gathering import Progress, gather_evidence
from polycompress.pipelines.trimming.loading import OpenModel, asked_languages, naming, open_model
from polycompress.vocab.planning import budget_text

NO_EVIDENCE: Final = (
    "the scores were tested on networks for images alone. Of four students of one model, which we distilled, they "
    "put the best last, while the number of parameters told their order: take the ranks as a hint, and distil more "
    "than the first, among them the largest"
)
LEAST_SHARE: Final = 0.5
"""Of the budget that a student uses at least, so that the ranks are among those one would choose from."""
_ENGLISH: Final = "eng-Latn"


def students(
    model: str | os.PathLike[str],
    *,
    budget: str,
    langs: str | Sequence[str] = (),
    corpus: str | Sequence[str] = (),
    field: str | None = None,
    settings: SearchSettings | None = None,
    progress: Progress | None = None,
) -> StudentsResult:
    """Rank shapes of students by DisWOT's scores, adapted to transformers. Nothing is trained and nothing written.

    Args:
        model: The teacher: a directory, the word ``demo``, or ``owner/name[@revision]``.
        budget: ``20M`` parameters, ``60MB`` of weights, or ``15ms`` for one text on this machine's processor.
        langs: Languages of the student, which decide about its vocabulary and the text; without any, English text and
            halves of the teacher's vocabulary.
        corpus: ``[LANG=]PATTERN`` of text files; without any, the built-in word frequencies.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        settings: Which shapes, and how much is averaged.
        progress: Called as work goes on.

    Raises:
        InputError: No shape keeps to the budget (the smallest is named), or the request, the model or a corpus is
            wrong.

    Reference:
        Dong et al., "DisWOT" (CVPR 2023).
    """
    asked = settings or SearchSettings()
    patterns = [corpus] if isinstance(corpus, str) else list(corpus)
    faults = Gathered()
    held = faults.tried(lambda: parse_limit(budget))
    languages = faults.tried(lambda: asked_languages(langs) if langs else find_languages(_ENGLISH))
    corpora = None
    if languages is not None:
        corpora = faults.tried(lambda: parse_corpora(patterns, languages, reading=Reading(field=field)))
    opened = faults.tried(lambda: open_model(model))
    sizes = opened and faults.tried(lambda: _sizes_within(opened, asked))
    faults.report("The request")
    assert held and languages and corpora is not None and opened and sizes, "or there is a fault"
    limit, unit, shown = held
    layers, widths = sizes
    evidence = gather_evidence(opened.vocabulary, languages, corpora, progress=progress)
    kept = kept_vocabularies(opened, evidence, asked, bool(langs))
    shapes = enumerate_shapes(layers, widths, kept)
    costs = {width: width_cost(opened.config, width) for width in widths}
    value_bytes = opened.checkpoint.tensors[opened.axes.embedding].itemsize
    times: dict[Shape, float] = {}

    def parameters(shape: Shape) -> int:
        return costs[shape.width].parameters(shape.layers, shape.tokens)

    def cost(shape: Shape) -> float:
        if unit != "ms":
            return parameters(shape) * (value_bytes if unit == "bytes" else 1)
        same = replace(shape, tokens=min(kept))  # rows of a table cost no time
        if same not in times:
            times[same] = latency_ms(opened.config, same, asked.length, opened.source.path)
        return times[same]

    chosen = within_budget(shapes, cost, limit, LEAST_SHARE)
    if not chosen:
        raise InputError(_too_small(opened, shapes, cost, shown, unit))
    scores = score_shapes(opened, evidence, corpora, chosen, kept, asked, progress)
    order = sorted(chosen, key=lambda shape: -scores[shape][0].total)
    return StudentsResult(
        source=opened.source.name,
        budget=shown,
        languages=languages,
        students=tuple(
            RankedStudent(
                rank=place + 1,
                shape=shape,
                parameters=parameters(shape),
                bytes=parameters(shape) * value_bytes,
                latency_ms=cost(shape) if unit == "ms" else None,
                score=scores[shape][0],
                error=scores[shape][1],
            )
            for place, shape in enumerate(order)
        ),
        considered=len(shapes),
        notes=tuple(_notes(opened, bool(langs), [scores[shape] for shape in order])),
    )


def _sizes_within(opened: OpenModel, asked: SearchSettings) -> tuple[tuple[int, ...], tuple[Width, ...]]:
    """Numbers of layers, and widths."""
    with naming(opened.source.path):
        count, teacher = count_layers(opened.config), teacher_width(opened.config)
    if asked.layers and max(asked.layers) > count:
        raise InputError(f"--layers {max(asked.layers)}: the teacher has {count}. Give up to as many.")
    layers = asked.layers or layer_options(count)
    if can_narrow(opened.config):
        return layers, width_options(teacher, asked.hidden, asked.heads, asked.feed_forward)
    if asked.hidden or asked.heads or asked.feed_forward:
        raise InputError(
            f"Students of a {opened.config['model_type']!r} model keep its width: leave --hidden, --heads and "
            "--feed-forward out."
        )
    return layers, (teacher,)


def _too_small(
    opened: OpenModel, shapes: Sequence[Shape], cost: Callable[[Shape], float], shown: str, unit: Unit
) -> str:
    least = min(shapes, key=cost)
    value = cost(least)
    layers = "1 layer" if least.layers == 1 else f"{least.layers} layers"
    takes = f"{value:.3g} ms" if unit == "ms" else budget_text(int(value), unit)
    return (
        f"--budget {shown}: too small for any student of {opened.source.name} that was considered. The smallest has "
        f"{layers}, hidden size {least.width.hidden} and {least.tokens:,} tokens, and takes {takes}. Give more, or "
        "name smaller sizes with --layers, --hidden or --tokens"
    )


def _notes(opened: OpenModel, named: bool, scores: Sequence[tuple[Score, float]]) -> list[str]:
    """What a reader of the ranks has to know.

    Args:
        opened: The teacher.
        named: Whether languages were asked for.
        scores: And standard errors, the best first.
    """
    notes = [NO_EVIDENCE]
    best, error = scores[0]
    like = sum(best.total - each.total <= 2 * math.hypot(error, other) for each, other in scores[1:])
    if math.isinf(error):
        notes.append("one score of each: nothing says how far the ranks can be trusted; give more --seeds")
    elif like:
        notes.append(
            f"{like} of the {len(scores) - 1} others are within two standard errors of the first: the scores do not "
            "tell them apart"
        )
    if not named:
        notes.append(
            "no --langs: the text is English, and the vocabularies are halves of the teacher's again and again, chosen "
            "for English"
        )
    if not can_narrow(opened.config):
        notes.append(
            f"students of a {opened.config['model_type']!r} model keep its width: only BERT-like encoders can be made "
            "narrower"
        )
    return notes
