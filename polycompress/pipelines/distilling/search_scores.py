"""Scores of untrained students: the vocabularies they may have, and what each shape makes of the same texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from polycompress.corpora import CorpusSpec
from polycompress.distill.diswot import Score, diswot_score, mean_score
from polycompress.distill.shapes import Shape
from polycompress.errors import InputError
from polycompress.evaluation.model_settings import position_limit
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.modeldir.directory import read_json
from polycompress.pipelines.distilling.search_models import look, make_table, random_student
from polycompress.pipelines.distilling.search_request import SearchSettings
from polycompress.pipelines.distilling.search_text import make_batches, search_texts, token_roles
from polycompress.pipelines.plan import least_tokens
from polycompress.pipelines.trimming.certificate import unknown_id
from polycompress.pipelines.trimming.gathering import Evidence, Progress
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.pipelines.trimming.planning import plan_trim
from polycompress.pipelines.trimming.request import TrimSettings
from polycompress.training.model import language_model_kind
from polycompress.vocab.selection import Limit

HALVINGS: Final = 5
"""Vocabularies that are considered where no languages are named: the whole one, half of it, and so on."""


def kept_vocabularies(
    opened: OpenModel, evidence: Sequence[Evidence], asked: SearchSettings, named: bool
) -> dict[int, NDArray[np.bool_]]:
    """The vocabularies that students may have: those that a trim of their size keeps.

    Args:
        opened: The teacher.
        evidence: Of each language.
        asked: Their sizes, if any are named.
        named: Whether languages were asked for; if so, what a trim keeps by default, and half of it.

    Returns:
        By number of tokens, (V,) bool: which ids are kept.
    """
    whole = opened.vocabulary.size

    def keep(limit: Limit) -> NDArray[np.bool_]:
        flags = np.zeros(whole, np.bool_)
        flags[plan_trim(opened, evidence, limit, named={}).keep_ids] = True
        return flags

    least = least_tokens(opened, [record.language for record in evidence])
    if asked.tokens:
        sizes = [min(each, whole) for each in asked.tokens]
    elif named:
        usual = int(np.count_nonzero(keep(TrimSettings().limit)))
        sizes = [usual, usual // 2]
    else:
        sizes = [whole >> step for step in range(HALVINGS)]
    found = {}
    for size in {max(least, each) for each in sizes}:
        flags = np.ones(whole, np.bool_) if size >= whole else keep(Limit(by="size", value=size))
        found[int(np.count_nonzero(flags))] = flags
    return found


def score_shapes(
    opened: OpenModel,
    evidence: Sequence[Evidence],
    corpora: Sequence[CorpusSpec],
    shapes: Sequence[Shape],
    kept: Mapping[int, NDArray[np.bool_]],
    asked: SearchSettings,
    progress: Progress | None,
) -> dict[Shape, tuple[Score, float]]:
    """Mean score and standard error of each shape, over students of random weights and batches of text.

    Args:
        opened: The teacher.
        evidence: Of each language.
        corpora: Their text.
        shapes: Of the students.
        kept: By number of tokens, which ids a vocabulary has.
        asked: Seeds, batches and their sizes.
        progress: Called after each shape.

    Raises:
        InputError: The teacher cannot be loaded, what it makes of text is not finite, or there is no text.
    """
    path = opened.source.path
    teacher, _ = load_pretrained(transformers.AutoModel, path, torch.float32)
    teacher.eval()
    limit = position_limit(teacher)
    roles = token_roles(opened, read_json(path, "tokenizer_config.json", required=False) or {})
    batches = make_batches(
        opened,
        search_texts(evidence, corpora, asked.batches * asked.texts, asked.seed),
        roles=roles,
        causal=_is_causal(opened),
        size=asked.texts,
        length=min(asked.length, limit or asked.length),
        seed=asked.seed,
    )
    views = [look(teacher, batch) for batch in batches]
    if not all(
        torch.isfinite(states).all() for view in views for states in (view.tokens, view.table, view.texts)
    ):
        raise InputError(
            f"{path}: what the model makes of text is NaN or infinite, so its weights are damaged. Fetch it again."
        )
    padding = roles["pad"] or 0
    unknown = unknown_id(opened.vocabulary.document)
    found = {}
    for shape in shapes:
        table = make_table(batches, kept[shape.tokens], unknown, padding)
        small = replace(shape, tokens=table.rows)
        scores = []
        for seed in range(asked.seed, asked.seed + asked.seeds):
            student = random_student(opened.config, small, seed, pad_token_id=int(table.numbers[padding]))
            scores += [
                diswot_score(view, look(student, each, table))
                for view, each in zip(views, batches, strict=True)
            ]
        found[shape] = mean_score(scores)
        if progress is not None:
            progress("scoring students", 1, len(shapes))
    return found


def _is_causal(opened: OpenModel) -> bool:
    try:
        return language_model_kind(opened.config, opened.source.path) == "causal"
    except InputError:
        return False
