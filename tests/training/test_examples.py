from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from polycompress.corpora import CorpusSpec, Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.training import tokenising
from polycompress.training.examples import IDS, META, OFFSETS, Examples, LanguageExamples
from polycompress.training.tokenising import Cutting, prepare_examples
from tests.tiny_models import TEXTS, train_tokenizer
from tests.training.tiny_examples import write_examples

TOKENIZER = json.dumps(train_tokenizer("unigram", "fairseq"))
CUTTING = Cutting(max_length=12)
GERMAN, SWAHILI = find_language("deu-Latn"), find_language("swh-Latn")


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[CorpusSpec, ...]:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS[:3]) + "\n\n" + TEXTS[3], encoding="utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(TEXTS[4:7]))
    (tmp_path / "sw.jsonl").write_text(json.dumps({"text": TEXTS[14]}) + "\n", encoding="utf-8")
    return parse_corpora(
        [f"de={tmp_path}/a.txt", f"de={tmp_path}/b.txt.gz", f"sw={tmp_path}/sw.jsonl"], [GERMAN, SWAHILI]
    )


def spec(path: Path) -> tuple[CorpusSpec, ...]:
    return parse_corpora([str(path)], [GERMAN])


def whole(text: str, document: str = TOKENIZER) -> list[int]:
    tokenizer = Tokenizer.from_str(document)
    tokenizer.no_truncation()
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def test_every_text_is_there_in_pieces_with_special_tokens(
    corpora: tuple[CorpusSpec, ...], tmp_path: Path
) -> None:
    examples = prepare_examples(TOKENIZER, corpora, tmp_path / "work", CUTTING)
    assert examples.languages == ("deu-Latn", "swh-Latn")
    texts: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        assert example.text_id == number
        assert 2 < len(example.ids) <= 12
        assert (example.ids[0], example.ids[-1]) == (0, 2)
        texts.setdefault(examples.locate(number).split(", piece")[0], []).extend(example.ids[1:-1].tolist())
    assert list(texts.values()) == [whole(text)[1:-1] for text in (*TEXTS[:7], TEXTS[14])]
    assert list(texts) == [
        *(f"deu-Latn, text {number} of {tmp_path}/a.txt" for number in range(1, 5)),
        *(f"deu-Latn, text {number} of {tmp_path}/b.txt.gz" for number in range(1, 4)),
        f"swh-Latn, text 1 of {tmp_path}/sw.jsonl",
    ]


def test_sizes_are_those_of_the_examples(corpora: tuple[CorpusSpec, ...], tmp_path: Path) -> None:
    examples = prepare_examples(TOKENIZER, corpora, tmp_path / "work", CUTTING)
    by_language: Counter[str] = Counter()
    for example in examples:
        by_language[example.language] += len(example.ids)
    assert dict(zip(examples.languages, examples.tokens, strict=True)) == by_language
    assert sum(examples.counts) == len(examples)
    lengths = examples.lengths(0, np.arange(examples.counts[0]))
    assert lengths.tolist() == [len(examples.get(0, index).ids) for index in range(examples.counts[0])]
    assert examples.longest == max(len(example.ids) for example in examples) == 12
    assert examples.locate(0) == f"deu-Latn, text 1 of {tmp_path}/a.txt, piece 1"
    meta = examples.provenance()["deu-Latn"]
    assert meta["texts"] == 7 and meta["dropped"] == {"empty": 1}
    assert len(meta["sources"][0]["sha256"]) == 64
    with pytest.raises(IndexError, match=f"no example {len(examples)}"):
        examples[len(examples)]


def test_the_work_of_an_earlier_run_is_found_again(
    corpora: tuple[CorpusSpec, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    first = prepare_examples(TOKENIZER, corpora, work, CUTTING)

    def no_more(*_: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(tokenising, "_write", no_more)
    again = prepare_examples(TOKENIZER, corpora, work, CUTTING)
    assert [example.ids.tolist() for example in again] == [example.ids.tolist() for example in first]
    assert again.fingerprint() == first.fingerprint()
    # one language of the two is found as well
    prepare_examples(TOKENIZER, [each for each in corpora if each.language == SWAHILI], work, CUTTING)
    other = json.dumps(train_tokenizer("unigram", "fairseq", vocab_size=350))
    for tokenizer, cutting, reading in (
        (other, CUTTING, None),
        (TOKENIZER, Cutting(max_length=13), None),
        (TOKENIZER, CUTTING, Reading(cleaning=("nfc",))),
    ):
        with pytest.raises(AssertionError, match="tokenised again"):
            prepare_examples(tokenizer, corpora, work, cutting, reading=reading)
    corpora[0].files[0].write_text("anders", encoding="utf-8")
    with pytest.raises(AssertionError, match="tokenised again"):
        prepare_examples(TOKENIZER, corpora, work, CUTTING)


@pytest.mark.parametrize("name", [IDS, OFFSETS, META])
def test_damaged_work_is_made_again(
    corpora: tuple[CorpusSpec, ...], tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "work"
    examples = prepare_examples(TOKENIZER, corpora, work, CUTTING)
    expected = [example.ids.tolist() for example in examples]
    path = examples.parts[0].path / name
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="tokenised texts are damaged"):
        LanguageExamples(path.parent)
    with caplog.at_level(logging.WARNING):
        again = prepare_examples(TOKENIZER, corpora, work, CUTTING)
    assert "made again" in caplog.text
    assert [example.ids.tolist() for example in again] == expected


def test_an_interrupted_run_leaves_nothing(corpora: tuple[CorpusSpec, ...], tmp_path: Path) -> None:
    work = tmp_path / "work"

    def stop(_: str, __: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_examples(TOKENIZER, corpora, work, CUTTING, progress=stop)
    assert not work.exists() or not list(work.iterdir())


def test_progress_counts_characters(corpora: tuple[CorpusSpec, ...], tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    prepare_examples(
        TOKENIZER,
        corpora,
        tmp_path / "work",
        CUTTING,
        progress=lambda code, amount: seen.update({code: amount}),
    )
    assert seen == {"deu-Latn": sum(map(len, TEXTS[:7])), "swh-Latn": len(TEXTS[14])}


def test_padding_and_truncation_of_the_tokenizer_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    tokenizer = Tokenizer.from_str(TOKENIZER)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=64)
    examples = prepare_examples(
        tokenizer.to_str(), spec(tmp_path / "a.txt"), tmp_path, Cutting(max_length=200)
    )
    assert [example.ids.tolist() for example in examples] == [whole(text) for text in TEXTS[:3]]


def test_a_decoder_gets_its_end_once_per_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    document = json.dumps(train_tokenizer("bytebpe", "gpt2"))
    end = Tokenizer.from_str(document).token_to_id("<|endoftext|>")
    examples = prepare_examples(
        document, spec(tmp_path / "a.txt"), tmp_path, Cutting(max_length=16, end_id=end)
    )
    assert examples.longest <= 16
    joined = [token for example in examples for token in example.ids.tolist()]
    assert joined == [token for text in TEXTS[:3] for token in [*whole(text, document), end]]


def test_texts_without_tokens_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"ja\n{TEXTS[0]}\n", encoding="utf-8")
    examples = prepare_examples(
        TOKENIZER, spec(tmp_path / "a.txt"), tmp_path, Cutting(max_length=99, min_tokens=6)
    )
    assert len(examples) == 1 and examples.locate(0).endswith("text 2 of " + str(tmp_path / "a.txt"))
    assert examples.provenance()["deu-Latn"]["without_tokens"] == 1


def test_a_corpus_without_usable_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\n \n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt: no usable text for deu-Latn: there is no text in it"):
        prepare_examples(TOKENIZER, spec(tmp_path / "a.txt"), tmp_path / "work", CUTTING)
    (tmp_path / "b.txt").write_text("ja\nja\n", encoding="utf-8")
    cutting = Cutting(max_length=99, min_tokens=9)
    with pytest.raises(InputError, match="none of its 2 texts has enough tokens"):
        prepare_examples(TOKENIZER, spec(tmp_path / "b.txt"), tmp_path / "work", cutting)
    assert not list((tmp_path).glob("work/*"))
    with pytest.raises(InputError, match="no corpus to train on"):
        prepare_examples(TOKENIZER, [], tmp_path / "work", CUTTING)


def test_ids_outside_the_table_are_refused_by_name(corpora: tuple[CorpusSpec, ...], tmp_path: Path) -> None:
    examples = prepare_examples(TOKENIZER, corpora, tmp_path / "work", CUTTING)
    highest = max(int(example.ids.max()) for example in examples)
    number = next(example.text_id for example in examples if highest in example.ids)
    with pytest.raises(InputError) as caught:
        prepare_examples(TOKENIZER, corpora, tmp_path / "work", CUTTING, table_rows=highest)
    assert str(caught.value).startswith(
        f"{examples.locate(number)} has the token id {highest}, but the model's table"
    )
    assert prepare_examples(TOKENIZER, corpora, tmp_path / "work", CUTTING, table_rows=highest + 1)


def test_examples_too_short_for_special_tokens_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXTS[0], encoding="utf-8")
    with pytest.raises(InputError, match=r"max_length is 2, .* beside 2 special tokens: give at least 3"):
        prepare_examples(TOKENIZER, spec(tmp_path / "a.txt"), tmp_path, Cutting(max_length=2))
    with pytest.raises(InputError, match="min_tokens is 0"):
        prepare_examples(TOKENIZER, spec(tmp_path / "a.txt"), tmp_path, Cutting(max_length=9, min_tokens=0))


def test_a_language_comes_once(tmp_path: Path) -> None:
    part = write_examples(tmp_path, {"deu-Latn": [3]}).parts[0]
    with pytest.raises(InputError, match="comes twice"):
        Examples([part, part])


def test_examples_are_mapped_not_read(tmp_path: Path) -> None:
    examples = write_examples(tmp_path, {"deu-Latn": [3, 4], "swh-Latn": [5]})
    assert isinstance(examples.parts[0]._ids.base, np.memmap)
    assert np.shares_memory(examples[1].ids, examples.parts[0]._ids)
    assert [len(example.ids) for example in examples] == [3, 4, 5]
    assert examples[2].language == "swh-Latn"
