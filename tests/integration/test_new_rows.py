"""From tokenizers and word vectors to rows: every way, between tokenizers of every type."""

from __future__ import annotations

import gzip
import json
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.matching import Vocabulary, match_tokens
from polycompress.embeddings.initialising.material import Material, Space
from polycompress.embeddings.initialising.plans import Rule
from polycompress.embeddings.initialising.registry import INITIALISERS, plan_rows
from polycompress.embeddings.initialising.subword_vectors import subword_vectors
from polycompress.embeddings.initialising.word_subwords import (
    Incidences,
    counts_by_language,
    language_coverage,
    word_subwords,
    word_variants,
)
from polycompress.vocab.document import load_document, parse_document
from polycompress.vocab.forms import byte_fallback_tokens, named_tokens, token_forms, token_roles
from tests.vocab.test_real_tokenizers import REAL

pytestmark = pytest.mark.integration

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
OTHERS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
LANGUAGES = {"yo": "yor-Latn", "ig": "ibo-Latn"}


def lines(folder: Path, code: str, count: int = 200) -> list[str]:
    with gzip.open(folder / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in islice(file, count)]


def unigram(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_bpe(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wordpiece(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=OTHERS, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


TRAINED = {"unigram": unigram, "byte-level": byte_bpe, "wordpiece": wordpiece}


@cache
def trained(folder: Path, kind: str, *codes: str) -> Tokenizer:
    return TRAINED[kind]([line for code in codes for line in lines(folder, code)])


def vocabulary(doc: dict[str, Any], config: dict[str, Any] | None = None) -> Vocabulary:
    return Vocabulary(
        forms=token_forms(doc),
        names=named_tokens(doc),
        roles=token_roles(doc, config),
        fallback=byte_fallback_tokens(doc),
    )


def held(tokenizer: Tokenizer, words: list[str], languages: list[str]) -> Incidences:
    variants = [
        (row, variant)
        for row, (word, language) in enumerate(zip(words, languages, strict=True))
        for variant in word_variants(word, language)
    ]
    encodings = tokenizer.encode_batch([variant for _, variant in variants], add_special_tokens=False)
    return word_subwords([row for row, _ in variants], [encoding.ids for encoding in encodings])


@cache
def word_list(folder: Path) -> tuple[list[str], list[str], NDArray[np.float32]]:
    """The words of some texts, with vectors of their letters: alike where the spelling is."""
    found = {
        (word.lower(), language): None
        for code, language in LANGUAGES.items()
        for line in lines(folder, code, 150)
        for word in line.split()
        if word.isalpha()
    }
    words, languages = [word for word, _ in found], [language for _, language in found]
    letters = {letter: n for n, letter in enumerate(sorted(set("".join(words))))}
    basis = np.random.default_rng(0).standard_normal((len(letters), 24))
    matrix = np.array(
        [np.mean([basis[letters[x]] for x in word], axis=0) for word in words], dtype=np.float32
    )
    return words, languages, matrix


@pytest.mark.parametrize("new", TRAINED)
@pytest.mark.parametrize("old", TRAINED)
def test_every_way_between_tokenizers_of_every_type(data_dir: Path, old: str, new: str) -> None:
    source, target = trained(data_dir, old, "en", "sw"), trained(data_dir, new, "yo", "ig")
    docs = [parse_document(tokenizer.to_str().encode()) for tokenizer in (source, target)]
    known, wanted = vocabulary(docs[0]), vocabulary(docs[1])
    words, languages, matrix = word_list(data_dir)
    spaces, incidences = [], []
    for tokenizer, own in ((source, known), (target, wanted)):
        incidences.append(held(tokenizer, words, languages))
        vectors, covered = subword_vectors(incidences[-1], matrix, len(own.forms))
        spaces.append(Space(vectors=vectors, covered=covered))
    texts = [(form or b"").decode("utf-8", "ignore") for form in wanted.forms]
    material = Material(
        matched=match_tokens(known, wanted),
        textual=known.textual,
        source=spaces[0],
        target=spaces[1],
        auxiliary=spaces[1],
        source_pieces=[each.ids for each in source.encode_batch(texts, add_special_tokens=False)],
    )
    # All five special tokens meet, whatever they are called; where forms are the same, so is what they stand for.
    assert material.matched.counts()["role"] == 5
    exact = np.flatnonzero(material.matched.rule == Rule.EXACT)
    assert len(exact) > 100
    assert all(wanted.forms[n] == known.forms[material.matched.sources[n, 0]] for n in exact.tolist())
    table = np.random.default_rng(1).standard_normal((len(known.forms), 8)).astype(np.float32)
    numbers = {name: n for n, name in enumerate(sorted(set(languages)))}
    covers = language_coverage(
        incidences[1], np.array([numbers[each] for each in languages]), len(numbers), len(wanted.forms)
    )
    for way in INITIALISERS.values():
        plan = plan_rows(way, material)
        made = apply_plan(plan, table, seed=0, sampling=way.sampling)
        assert made.shape == (len(wanted.forms), 8)
        assert np.isfinite(made).all()
        assert sum(plan.counts().values()) == len(wanted.forms)
        counts = counts_by_language(plan.rule, covers, list(numbers), list(plan.counts()))
        assert set(counts) == {*numbers, "(none)"}
        assert counts["yor-Latn"]["sampled"] == 0 or way.name not in ("ofa", "wechsel")


@pytest.mark.parametrize("kind", TRAINED)
def test_a_tokenizer_gets_its_own_rows_back(data_dir: Path, kind: str) -> None:
    identity(vocabulary(parse_document(trained(data_dir, kind, "yo", "ig").to_str().encode())))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_real_tokenizer_gets_its_own_rows_back(name: str) -> None:
    path = REAL[name]
    if path is None:
        pytest.skip(f"the package {name} is not installed, or has no such tokenizer any more")
    config = path.with_name("tokenizer_config.json")
    own = vocabulary(load_document(path), json.loads(config.read_text()) if config.is_file() else None)
    assert name == "anthropic" or {"unk", "pad"} <= set(own.roles)  # that one has neither
    identity(own)


def identity(own: Vocabulary) -> None:
    plan = match_tokens(own, own)
    assert plan.counts()["sampled"] == plan.counts()["folded"] == 0
    draw = np.random.default_rng(2)
    table, bias = draw.standard_normal((len(plan), 4)).astype(np.float32), draw.standard_normal(len(plan))
    assert apply_plan(plan, table, seed=0).tobytes() == table.tobytes()
    assert apply_plan(plan, bias, seed=0, sampling="zero").tobytes() == bias.tobytes()
