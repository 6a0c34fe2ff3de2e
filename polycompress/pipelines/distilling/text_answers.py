"""Answers of language models on text: heads, and vocabularies of which one was trimmed out of the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from polycompress.corpora import CorpusSpec
from polycompress.corpora.readers import read_texts
from polycompress.distill.objectives.unequal import VocabularyMap
from polycompress.errors import InputError
from polycompress.modeldir.directory import file_sha256, read_bytes, read_json
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.metrics import read_metrics
from polycompress.training.model import Kind, LoadedModel, load_encoder, load_language_model, named_head
from polycompress.vocab.document import MAX_DOCUMENT_BYTES

LOOKED_AT: Final = 200
"""Texts of each corpus that both tokenizers are tried on."""
LOADERS: Final[Mapping[Kind, str]] = {"masked": "AutoModelForMaskedLM", "causal": "AutoModelForCausalLM"}


def no_head_advice(name: str) -> str:
    """What to do with a model that has no language model's head."""
    return (
        f"train one first (polycompress mlm {name} --corpus ... --steps N --out RUN) and name RUN "
        "instead, or leave out answers on text (hidden states and attention need no head)"
    )


def load_answering(path: Path, config: Mapping[str, Any]) -> LoadedModel:
    """Load a model with its language model's head, which has to be the checkpoint's own.

    Args:
        path: The model directory.
        config: Its ``config.json``.

    Raises:
        InputError: It has none, or cannot be loaded.
    """
    if named_head(config) is None:
        raise InputError(
            f"{path}: has no language model's head, so it answers nothing on text: {no_head_advice(str(path))}."
        )
    loaded = load_language_model(path, config)
    if loaded.fresh:
        raise InputError(
            f"{path}: config.json names a language model's head, but the checkpoint lacks {len(loaded.fresh)} of its "
            f"parameters, such as {loaded.fresh[0]}: {no_head_advice(str(path))}."
        )
    return loaded


def load_for_text(path: Path, *, answers: bool) -> LoadedModel:
    """Load a model, with its language model's head where answers are compared.

    Raises:
        InputError: It cannot be loaded, or has no such head.
    """
    return load_answering(path, read_json(path, "config.json") or {}) if answers else load_encoder(path)


def head_classes(model: Any) -> int:
    """Classes of a language model's head."""
    return int(model.get_output_embeddings().out_features)


def vocabularies(
    student: SourceModel, teacher: Path, corpora: Sequence[CorpusSpec]
) -> tuple[dict[str, int], dict[str, int]]:
    """Ids by token, of a student and of a teacher.

    Args:
        student: Found.
        teacher: The model directory.
        corpora: That both are to see the same tokens of.

    Raises:
        InputError: They cut texts otherwise.
    """
    own = Tokenizer.from_str(student.tokenizer_json)
    tokens: dict[str, int] = own.get_vocab(with_added_tokens=True)
    if file_sha256(teacher, "tokenizer.json") in student.hashes.values():
        return tokens, tokens
    document = read_bytes(teacher, "tokenizer.json", max_bytes=MAX_DOCUMENT_BYTES)
    other = Tokenizer.from_str(document.decode("utf-8"))
    check_segmentation(own, other, first_texts(corpora))
    return tokens, other.get_vocab(with_added_tokens=True)


def map_vocabularies(
    student: Mapping[str, int], teacher: Mapping[str, int], sizes: tuple[int, int]
) -> VocabularyMap:
    """Which pieces two models share.

    Args:
        student: Ids by token.
        teacher: Ids by token.
        sizes: Classes of the student's and the teacher's head: rows that no token has pad them.

    Raises:
        InputError: A model has fewer classes than tokens.
    """
    own, other = (
        _in_order(tokens, size, who)
        for tokens, size, who in zip((student, teacher), sizes, ("student", "teacher"), strict=True)
    )
    return VocabularyMap.by_string(other, own)


def check_segmentation(student: Tokenizer, teacher: Tokenizer, texts: Iterable[str]) -> None:
    """Refuse tokenizers that have the same tokens, but cut texts at other places.

    Texts of which the student lacks a token are passed over: these it has to cut otherwise.

    Raises:
        InputError: A text is cut otherwise.
    """
    known = student.get_vocab(with_added_tokens=True)
    for text in texts:
        theirs = teacher.encode(text, add_special_tokens=False).tokens
        if all(token in known for token in theirs):
            own = student.encode(text, add_special_tokens=False).tokens
            if own != theirs:
                raise InputError(
                    f"Student and teacher cut {text[:40]!r} into other tokens ({' '.join(own[:8])} and "
                    f"{' '.join(theirs[:8])}) though both have all of them: their answers are at other places. Give "
                    "the model that the student was trimmed from."
                )


def first_texts(corpora: Sequence[CorpusSpec]) -> Iterable[str]:
    """The first texts of each corpus."""
    return itertools.chain.from_iterable(itertools.islice(read_texts(spec), LOOKED_AT) for spec in corpora)


def lost_mass(run: Path) -> dict[str, float]:
    """What ``unequal`` lost on the mean of a whole run, interruptions included; nothing where it was not asked for."""
    records = read_metrics(run / "metrics.jsonl")
    names = sorted({name for record in records for name in record if name.startswith("lost_mass_")})
    found = {name: [record[name] for record in records if name in record] for name in names}
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def _in_order(tokens: Mapping[str, int], size: int, who: str) -> list[str | None]:
    """Tokens by id; None where an id stands for nothing."""
    if tokens and max(tokens.values()) >= size:
        raise InputError(
            f"The {who}'s head has {size} classes, but its tokenizer has the id {max(tokens.values())}: tokenizer and "
            "model do not belong together."
        )
    found: list[str | None] = [None] * size
    for token, number in tokens.items():
        found[number] = token
    return found
