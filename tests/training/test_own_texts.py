"""Texts in the tokens of several models, and the words that all of them have."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from polycompress.corpora import CorpusSpec, parse_corpora
from polycompress.distill.alignment import NO_WORD, align_all
from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.training import own_texts_making
from polycompress.training.examples import META, Examples
from polycompress.training.own_texts import OwnLanguage, Rows, items_of, words_file, words_of
from polycompress.training.own_texts_making import OwnCutting, prepare_own_texts, special_ends
from polycompress.training.tokenising import Cutting, prepare_examples
from tests.tiny_models import TEXTS, train_tokenizer

STUDENT, WORDPIECE, BYTES = (
    json.dumps(train_tokenizer(kind, layout, 300))
    for kind, layout in (("unigram", "fairseq"), ("wordpiece", "bert"), ("bytebpe", "fairseq"))
)
CUTTING = Cutting(max_length=12)
MODELS = [
    OwnCutting(tokenizer_json=WORDPIECE, max_length=40, pad_id=0),
    OwnCutting(tokenizer_json=BYTES, max_length=9, pad_id=1),
]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusSpec, ...]:
    root = tmp_path_factory.mktemp("texts")
    (root / "de.txt").write_text("\n".join([*TEXTS[:10], TEXTS[0] * 3]), encoding="utf-8")
    (root / "sw.txt").write_text("\n".join(TEXTS[10:]), encoding="utf-8")
    languages = [find_language("deu-Latn"), find_language("swh-Latn")]
    return parse_corpora([f"de={root}/de.txt", f"sw={root}/sw.txt"], languages)


def made(corpora: tuple[CorpusSpec, ...], work: Path) -> tuple[Examples, tuple[OwnLanguage, ...]]:
    examples = prepare_examples(STUDENT, corpora, work, CUTTING)
    return examples, prepare_own_texts(STUDENT, MODELS, corpora, examples, work, CUTTING)


def test_texts_of_one_piece_are_cut_as_each_tokenizer_cuts_them(
    corpora: tuple[CorpusSpec, ...], tmp_path: Path
) -> None:
    cutting = Cutting(max_length=99)
    examples = prepare_examples(STUDENT, corpora[1:], tmp_path, cutting)
    models = [OwnCutting(tokenizer_json=each, max_length=400, pad_id=0) for each in (WORDPIECE, BYTES)]
    parts = prepare_own_texts(STUDENT, models, corpora[1:], examples, tmp_path, cutting)
    tokenizers = [Tokenizer.from_str(document) for document in (STUDENT, WORDPIECE, BYTES)]
    assert len(examples) == 6
    for number, text in enumerate(TEXTS[10:]):
        encodings = [each.encode(text) for each in tokenizers]
        for model in (1, 2):
            assert items_of(parts, model)[number].ids.tolist() == encodings[model].ids
        offsets = [
            np.where(np.array(each.special_tokens_mask)[:, None] == 1, 0, np.array(each.offsets))
            for each in encodings
        ]
        for model, expected in enumerate(align_all(text, offsets)):
            assert words_of(parts, model)[number].tolist() == expected.tolist()
    (part,) = parts
    assert part.coverage[0] > 0.99


def test_pieces_of_long_texts_share_nothing_and_lose_only_what_a_cut_goes_through(
    corpora: tuple[CorpusSpec, ...], tmp_path: Path
) -> None:
    examples, parts = made(corpora, tmp_path)
    for model, (document, room) in enumerate([(WORDPIECE, 40), (BYTES, 9)], start=1):
        tokenizer = Tokenizer.from_str(document)
        before, behind = special_ends(tokenizer)
        shown: dict[str, list[int]] = {}
        for number in range(len(examples)):
            ids = items_of(parts, model)[number].ids.tolist()
            words = words_of(parts, model)[number]
            assert len(ids) == len(words) <= room
            assert ids[: len(before)] == before and ids[len(ids) - len(behind) :] == behind
            assert words[0] == words[-1] == NO_WORD
            assert words.max() == words_of(parts, 0)[number].max()
            text = examples.locate(number).split(", piece")[0]
            shown.setdefault(text, []).extend(ids[len(before) : len(ids) - len(behind)])
        for text, found in zip([*TEXTS[:10], TEXTS[0] * 3, *TEXTS[10:]], shown.values(), strict=True):
            rest = iter(tokenizer.encode(text, add_special_tokens=False).ids)
            assert all(token in rest for token in found)  # in this order, none twice
    assert all(0 < share < 1 for part in parts for share in part.coverage)
    assert parts[0].coverage[0] > 0.4


def test_what_was_made_is_found_again_and_damage_is_mended(
    corpora: tuple[CorpusSpec, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, parts = made(corpora, tmp_path)
    before = [words_of(parts, 0)[number].tolist() for number in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(own_texts_making, "_write", None)
        made(corpora, tmp_path)
    damaged = parts[0].path / words_file(1)
    damaged.write_bytes(damaged.read_bytes()[:-4])
    with caplog.at_level(logging.WARNING):
        _, parts = made(corpora, tmp_path)
    assert "words-1.bin has" in caplog.text
    assert [words_of(parts, 0)[number].tolist() for number in range(3)] == before
    meta = json.loads((parts[0].path / META).read_text(encoding="utf-8"))
    (parts[0].path / META).write_text(json.dumps({**meta, "tokens": meta["tokens"][:2]}), encoding="utf-8")
    with pytest.raises(InputError, match="of other models"):
        OwnLanguage(parts[0].path, 2)


def test_examples_of_other_texts_are_refused(corpora: tuple[CorpusSpec, ...], tmp_path: Path) -> None:
    _, parts = made(corpora, tmp_path)
    shorter = prepare_examples(STUDENT, corpora, tmp_path, Cutting(max_length=10))
    with pytest.raises(InputError, match="these texts are not those of"):
        parts[0].check(shorter.parts[0])


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    """A tokenizer whose normaliser drops every letter covers nothing that the other covers."""
    (tmp_path / "de.txt").write_text("nur buchstaben\n", encoding="utf-8")
    corpora = parse_corpora([f"de={tmp_path}/de.txt"], [find_language("deu-Latn")])
    document = json.loads(WORDPIECE)
    document["normalizer"] = {"type": "Replace", "pattern": {"Regex": "[a-z]"}, "content": ""}
    examples = prepare_examples(STUDENT, corpora, tmp_path / "work", CUTTING)
    mute = OwnCutting(tokenizer_json=json.dumps(document), max_length=40, pad_id=0)
    with pytest.raises(InputError, match="deu-Latn: the student's tokenizer and its teachers' have no word"):
        prepare_own_texts(STUDENT, [mute], corpora, examples, tmp_path / "work", CUTTING)


def test_no_room_for_text(corpora: tuple[CorpusSpec, ...], tmp_path: Path) -> None:
    examples = prepare_examples(STUDENT, corpora, tmp_path, CUTTING)
    narrow = OwnCutting(tokenizer_json=WORDPIECE, max_length=2, pad_id=0)
    with pytest.raises(InputError, match="2 tokens at most, which leaves no room for text beside 2 special"):
        prepare_own_texts(STUDENT, [narrow], corpora, examples, tmp_path, CUTTING)


def test_rows_of_several_languages_are_numbered_through() -> None:
    rows = Rows(
        [
            (np.array([5, 6, 7]), np.array([0, 1, 3])),
            (np.array([8, 9]), np.array([0, 2])),
        ]
    )
    assert [rows[number].tolist() for number in range(len(rows))] == [[5], [6, 7], [8, 9]]
    for wrong in (-1, 3):
        with pytest.raises(IndexError, match="numbers 0 to 2"):
            rows[wrong]
