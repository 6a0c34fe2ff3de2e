from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.corpora import parse_corpora
from polycompress.errors import InputError
from polycompress.evaluation.records import TextExample, WordsExample
from polycompress.evaluation.tasks import find_task
from polycompress.languages import find_languages
from polycompress.pipelines.distilling.transfer import example_of, read_transfer
from tests.pipelines.tiny_pack import make_pack


def test_texts_take_the_place_of_examples(tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "data")
    for code in ("en", "sw"):
        (tmp_path / f"{code}.txt").write_text("".join(f"{code} text {n}\n" for n in range(5)))
    languages = find_languages("en,sw")
    corpora = parse_corpora([f"en={tmp_path}/en.txt", f"sw={tmp_path}/sw.txt"], languages)
    found = read_transfer(find_task("sib200"), languages[:1], pack, 3, corpora)
    assert [(str(part), len(examples)) for part, examples in found.train] == [
        ("eng-Latn/transfer", 3),
        ("swh-Latn/transfer", 3),
    ]
    assert [str(part) for part, _ in found.dev] == ["eng-Latn"], "chosen in the source language alone"
    assert {example.label for _, examples in found.dev for example in examples} != {0}  # type: ignore[union-attr]
    assert "3 in eng-Latn, 3 in swh-Latn" in found.notes[-1]


def test_one_line_by_kind_of_task() -> None:
    assert example_of("text-classification", "transfer-0", "a b", "x") == TextExample(
        "transfer-0", "a b", None, 0
    )
    assert example_of("pair-classification", "transfer-0", "a b\t c ", "x") == TextExample(
        "transfer-0", "a b", "c", 0
    )
    words = example_of("token-classification", "transfer-0", " a  b ", "x")
    assert words == WordsExample("transfer-0", ("a", "b"), (0, 0))


@pytest.mark.parametrize("line", ["no tab", "\tsecond", "first\t "])
def test_a_line_that_is_no_pair(line: str) -> None:
    with pytest.raises(InputError, match=r"transfer, swh-Latn, text 8: is no pair: .* tab"):
        example_of("pair-classification", "transfer-7", line, "swh-Latn")
