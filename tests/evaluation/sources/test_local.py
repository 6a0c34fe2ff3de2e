"""The local door: files of a data directory, and everything that can be wrong with them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.records import Part, QuestionExample, Split, TextExample, WordPair, WordsExample
from polycompress.evaluation.sources.examples import paragraph_split
from polycompress.evaluation.sources.files import conll_rows, tsv_rows
from polycompress.evaluation.tasks import find_task, load_examples
from tests.evaluation.task_data import NLI, conll_file, data_directory, nli_file, squad_file, write

ENGLISH, GERMAN = Part("eng-Latn"), Part("deu-Latn")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_directory(tmp_path / "data")


def texts(task: str, split: Split, data: Path, part: Part = ENGLISH) -> list[TextExample]:
    examples = load_examples(find_task(task), part, split, data=data)
    assert all(isinstance(example, TextExample) for example in examples)
    return list(examples)  # type: ignore[arg-type]  # checked above


def test_xnli_is_trained_on_two_sets_and_stopped_by_a_third(data: Path) -> None:
    train = texts("xnli", "train", data)
    assert [example.text for example in train] == [f"wiki train {n}" for n in range(4)] + [
        f"dev premise {n} en" for n in range(5)
    ]
    assert len({example.key for example in train}) == 9
    assert [example.text for example in texts("xnli", "dev", data)] == [f"wiki test {n}" for n in range(4)]
    assert texts("xnli", "test", data)[1] == TextExample("2", "test premise 1 en", "hypothesis 1", 1)
    task = find_task("xnli")
    assert task.languages("train", data) == [ENGLISH]  # German has no WikiNLI
    assert task.languages("test", data) == [GERMAN, ENGLISH]


def test_one_file_with_all_splits(data: Path) -> None:
    assert [example.key for example in texts("sib200", "train", data)] == [str(10 * n) for n in range(8)]
    assert [example.key for example in texts("sib200", "test", data, GERMAN)] == ["100", "110"]


def test_words_and_tags(data: Path) -> None:
    (first, second) = load_examples(find_task("ner-wikiann"), GERMAN, "dev", data=data)
    assert first == WordsExample("1", ("Karl", "wohnt", "in", "Berlin"), (1, 0, 0, 5))
    assert isinstance(second, WordsExample)
    assert second.words[0] == "dev"


def test_treebanks_are_parts_and_scripts_are_as_written(tmp_path: Path) -> None:
    for name in ("en_ewt", "en_pud", "sr_set", "zh_pud", "de_pud", "README"):
        conll_file(tmp_path / "ner" / "uner" / f"test.{name}.conll.gz", [(["a"], ["O"])])
    assert find_task("ner-uner").languages("test", tmp_path) == [
        Part("deu-Latn", "pud"),
        Part("eng-Latn", "ewt"),
        Part("eng-Latn", "pud"),
        Part("srp-Latn", "set"),
        Part("zho-Hant", "pud"),
    ]
    assert str(Part("eng-Latn", "ewt")) == "eng-Latn/ewt"


def test_questions_are_split_by_paragraph_alike_in_every_language(data: Path) -> None:
    task = find_task("xquad")
    seen: dict[str, str] = {}
    splits: tuple[Split, ...] = ("train", "dev", "test")
    for split in splits:
        keys = []
        for part in (ENGLISH, GERMAN):
            examples = load_examples(task, part, split, data=data)
            assert all(
                isinstance(e, QuestionExample) and paragraph_split(e.paragraph) == split for e in examples
            )
            keys.append([example.key for example in examples if isinstance(example, QuestionExample)])
        assert keys[0] == keys[1]
        seen |= dict.fromkeys(keys[0], split)
    assert len(seen) == 120


def test_squad_trains_and_all_of_xquad_tests(tmp_path: Path) -> None:
    task = find_task("xquad-squad")
    squad_file(tmp_path / "squad" / "train.en.json", 3)
    squad_file(tmp_path / "squad" / "dev.en.json", 2)
    squad_file(tmp_path / "xquad" / "xquad.de.json.gz", 5)
    assert task.languages("train", tmp_path) == task.languages("dev", tmp_path) == [ENGLISH]
    assert task.languages("test", tmp_path) == [GERMAN]
    assert len(load_examples(task, ENGLISH, "train", data=tmp_path)) == 6
    assert len(load_examples(task, GERMAN, "test", data=tmp_path)) == 10


def test_shares_of_paragraphs() -> None:
    shares = [paragraph_split(str(number)) for number in range(10_000)]
    assert abs(shares.count("train") - 7000) < 150
    assert abs(shares.count("dev") - 1000) < 100


def test_sentences_are_joined_with_the_pivot(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = find_task("retrieval-pud")
    assert task.languages("test", data) == [Part("fra-Latn"), Part("zho-Hant")]  # not the pivot
    pairs = load_examples(task, Part("zho-Hant"), "test", data=data)
    assert [(p.key, p.pivot, p.text) for p in pairs] == [  # type: ignore[union-attr]  # of one kind
        (f"n{n}", f"sentence {n}", f"句子 {n}") for n in range(3)
    ]
    write(data / "parallel" / "pud" / "fr.tsv", "sent_id\ttext\nn2\tb\nn9\ta\n")
    (pair,) = load_examples(task, Part("fra-Latn"), "test", data=data)
    assert pair.key == "n2"  # type: ignore[union-attr]  # of one kind
    assert "1 sentences have no partner" in caplog.text
    with pytest.raises(InputError, match="eng-Latn is the language that task retrieval-pud compares"):
        load_examples(task, ENGLISH, "test", data=data)


def test_sentences_line_by_line(data: Path) -> None:
    pairs = load_examples(find_task("retrieval-tatoeba"), GERMAN, "test", data=data)
    assert [(p.key, p.pivot, p.text) for p in pairs] == [  # type: ignore[union-attr]  # of one kind
        (str(n + 1), f"sentence {n}", f"Satz {n}") for n in range(3)
    ]


def test_words_with_all_their_translations(data: Path) -> None:
    pairs = load_examples(find_task("word-translation"), GERMAN, "test", data=data)
    assert pairs == (WordPair("the", ("der", "die")), WordPair("test", ("Wort",)))


def test_a_limit(data: Path) -> None:
    task = find_task("xnli")
    assert load_examples(task, ENGLISH, "test", data=data, limit=2) == tuple(texts("xnli", "test", data)[:2])
    assert len(load_examples(find_task("xquad"), ENGLISH, "train", data=data, limit=3)) == 3
    with pytest.raises(InputError, match="limit is 0; it must be at least 1"):
        load_examples(task, ENGLISH, "test", data=data, limit=0)


def refused(task: str, data: Path, message: str, part: Part = GERMAN, split: Split = "test") -> None:
    with pytest.raises(InputError, match=message):
        load_examples(find_task(task), part, split, data=data)


def test_a_language_that_is_not_there(data: Path) -> None:
    refused(
        "xnli",
        data,
        r"no test examples in swh-Latn \(looked for nli/xnli/test.\{language\}.tsv, plain or compressed; "
        r"languages found: deu-Latn, eng-Latn\)",
        Part("swh-Latn"),
    )
    refused("nli-jnli", data, "languages found: none")
    refused("nli-jnli", data, "no split train in a data directory .it has test", split="train")
    refused("xnli", data / "nowhere", "nowhere: there is no such directory")


def test_a_language_twice(data: Path) -> None:
    nli_file(data / "nli" / "xnli" / "test.deu.tsv", [("neutral", "a", "b")])
    refused("xnli", data, "test.de.tsv.gz and .*test.deu.tsv are both deu-Latn. Remove one")


def test_an_unknown_code_is_passed_over(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    nli_file(data / "nli" / "xnli" / "test.xq.tsv", [("neutral", "a", "b")])
    assert find_task("xnli").languages("test", data) == [GERMAN, ENGLISH]
    assert "'xq' is no language of the registry" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NLI.replace("gold_label", "label") + "x\tneutral\ta\tb\t1\t1\tg\n", "line 1: there is no column 'gold_label'"),
        (NLI + "x\tneutral\ta\tb\n", "line 2: 4 cells, but there are 7 columns"),
        (NLI + "x\tneutral\ta\tb\t1\t1\tg\nx\tmaybe\ta\tb\t1\t2\tg\n", "line 3: 'maybe' is none of the task's labels"),
        (NLI + "x\tneutral\t \tb\t1\t1\tg\n", "line 2: the text is empty"),
        (NLI + "x\tneutral\ta\t\t1\t1\tg\n", "line 2: the second is empty"),
        (NLI + "x\tneutral\ta\tb\t1\t7\tg\nx\tneutral\ta\tc\t1\t7\tg\n", "line 3: the key '7' is there twice"),
        (NLI, "task nli-sick has no test examples in deu-Latn: all files are empty"),
        ("", "line 1: there is no column"),
        ("\0" * 20, "byte 0 is zero"),
    ],
)  # fmt: skip
def test_broken_tables(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "nli" / "sick" / "test.de.tsv", text)
    refused("nli-sick", tmp_path, f"{re.escape(str(path) if 'task' not in message else '')}.*{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\tI-PER\n", "line 2: I-PER follows O; it must follow B-PER or I-PER"),
        ("a\tB-LOC\nb\tI-PER\n", "line 2: I-PER follows B-LOC"),
        ("a\tO\n\nb\tI-PER\n", "line 3: I-PER follows O"),
        ("a\tO\nb\tB-DATE\n", "line 2: 'B-DATE' is none of the task's tags"),
        ("a\tO\nb\n", "line 2: 'b' is not a word, a tab and its tag"),
        ("a\tO\n \tO\n", "line 2: ' .tO' is not a word, a tab and its tag"),
        ("a b O\n", "line 1: 'a b O' is not a word"),
        ("\n\n", "all files are empty"),
    ],
)
def test_broken_tags(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "ner" / "wikiann" / "test.de.conll", text)
    refused("ner-wikiann", tmp_path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Spree", "Havel"), "the answer 'Havel' does not stand at character"),
        (
            ("answer_start", "start"),
            r"data\[0\].paragraphs\[0\].qas\[0\]: not the layout of SQuAD v1.1 .KeyError",
        ),
        (('"data"', '"date"'), "xquad.de.json: data: not the layout of SQuAD"),
        (("Frage 0?", " "), "the question is empty"),
        (('{"version"', "{"), "not the layout of SQuAD v1.1 .JSONDecodeError"),
    ],
)
def test_broken_questions(tmp_path: Path, data: Path, change: tuple[str, str], message: str) -> None:
    path = squad_file(tmp_path / "xquad" / "xquad.de.json", 2)
    text = path.read_text().replace(*change)
    if change[0] == "Spree":
        document = json.loads(path.read_text())
        for paragraph in document["data"][0]["paragraphs"]:
            for question in paragraph["qas"]:
                question["answers"][0]["text"] = "Havel"
        text = json.dumps(document)
    write(path, text)
    refused("xquad", tmp_path, message, split=paragraph_split("0"))


def test_a_question_without_an_answer(tmp_path: Path) -> None:
    question = {"id": "a", "question": "b?", "answers": []}
    document = {"data": [{"paragraphs": [{"context": "c", "qas": [question]}]}]}
    write(tmp_path / "xquad" / "xquad.de.json", json.dumps(document))
    refused("xquad", tmp_path, "there is no answer", split=paragraph_split("0"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"text": "c", "answer_start": "0"}, "'c' does not stand at character '0'"),
        ({"text": "c", "answer_start": None}, "'c' does not stand at character None"),
        ({"text": "c", "answer_start": 1e300}, "'c' does not stand at character 1e.300"),
        ({"text": "c", "answer_start": -2}, "'c' does not stand at character -2"),
        ({"text": None, "answer_start": 0}, "the answer None does not stand"),
        ({"text": 5, "answer_start": 0}, "the answer 5 does not stand"),
    ],
)
def test_answers_of_wrong_types(tmp_path: Path, answer: dict[str, object], message: str) -> None:
    question = {"id": "a", "question": "b?", "answers": [answer]}
    document = {"data": [{"paragraphs": [{"context": "cd", "qas": [question]}]}]}
    write(tmp_path / "xquad" / "xquad.de.json", json.dumps(document))
    refused("xquad", tmp_path, message, split=paragraph_split("0"))


def test_half_a_character(tmp_path: Path) -> None:
    question = {"id": "a", "question": "b\ud800", "answers": [{"text": "c", "answer_start": 0}]}
    document = {"data": [{"paragraphs": [{"context": "cd", "qas": [question]}]}]}
    write(tmp_path / "xquad" / "xquad.de.json", json.dumps(document))
    refused("xquad", tmp_path, "qas.0.: the question holds half a character", split=paragraph_split("0"))


def test_an_empty_sentence_or_word(data: Path) -> None:
    write(data / "parallel" / "pud" / "en.tsv", "sent_id\ttext\nn1\t\n")
    refused("retrieval-pud", data, "en.tsv: line 2: the text is empty", Part("fra-Latn"))
    write(data / "lexicons" / "en-de.test.tsv.gz", "en\tde\nthe\t \n")
    refused("word-translation", data, "line 2: the translation is empty")


WORD = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")), min_size=1
)


@given(st.lists(st.lists(st.tuples(WORD, st.sampled_from(["O", "B-PER", "B-LOC"])), min_size=1), max_size=5))
def test_sentences_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[tuple[str, str]]]
) -> None:
    path = tmp_path_factory.mktemp("conll") / "a.conll"
    conll_file(path, [([word for word, _ in row], [tag for _, tag in row]) for row in rows])
    found = [list(zip(row.values["words"], row.values["tags"], strict=True)) for row in conll_rows(path)]
    assert found == rows


@given(st.lists(st.tuples(WORD, WORD), max_size=5))
def test_tables_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    write(path, "one\ttwo\n" + "".join(f"{one}\t{two}\n" for one, two in rows))
    found = list(tsv_rows(path, {"b": "two", "a": "one"}))
    assert [(row.values["a"], row.values["b"]) for row in found] == rows
    assert [row.place for row in found] == [f"{path}: line {n}" for n in range(2, len(rows) + 2)]
