from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import invoke, refused, tree
from tests.vocab.extending.synthetic import OLD, sentences


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    (root / "yo.txt").write_text("\n".join(sentences(1, 500)), encoding="utf-8")
    (root / "en.txt").write_text(
        "\n".join(f"{text} {number}" for number in range(200) for text in OLD), "utf-8"
    )
    return root


def test_train_extend_compare(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    english, yoruba = f"en={texts / 'en.txt'}", f"yo={texts / 'yo.txt'}"
    base, tok = tmp_path / "base", tmp_path / "tok"
    trained = invoke(
        capsys,
        "tokenizer",
        "train",
        "--corpus",
        english,
        "--size",
        "400",
        "--type",
        "byte-bpe",
        "--out",
        base,
    )
    assert trained.code == 0, trained.err
    before = tree(tmp_path)
    assert "English" in trained.out and f"written to {base}" in trained.out.replace("\n", "")
    asked = (
        "tokenizer",
        "extend",
        base,
        "--langs",
        "yo",
        "--corpus",
        yoruba,
        "--pieces",
        "30",
        "--check",
        english,
    )
    planned = invoke(capsys, *asked, "--dry-run")
    assert planned.code == 0, planned.err
    assert "nothing was written (--dry-run)" in planned.out
    assert ["new", "tokens", "30"] in [line.split() for line in planned.out.splitlines()]
    assert tree(tmp_path) == before
    planned = invoke(capsys, *asked, "--dry-run", "--json")
    extended = invoke(capsys, *asked, "--out", tok, "--json")
    assert extended.code == 0, extended.err
    found = json.loads(extended.out)
    assert json.loads(planned.out) == {**found, "out": None}
    assert found["size"] == found["old_size"] + 30
    assert found["languages"][0]["after"]["fertility"] < found["languages"][0]["before"]["fertility"]
    compared = invoke(capsys, "tokenizer", "compare", base, tok, "--corpus", yoruba, "--check", english)
    assert compared.code == 0, compared.err
    for part in ("tokens in common", "Yoruba", "cut otherwise", "%"):
        assert part in compared.out
    assert "written" not in compared.out


def test_faults_are_told_in_one_message(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(
        capsys, tmp_path, "tokenizer", "train", "--corpus", str(texts / "yo.txt"), "--size", "99", "--out",
        tmp_path / "tok",
    )  # fmt: skip
    assert "does not say its language" in message
    message = refused(
        capsys, tmp_path, "tokenizer", "extend", tmp_path, "--langs", "yo", "--corpus", str(texts / "yo.txt"),
        "--pieces", "9",
    )  # fmt: skip
    assert "name one with --out, or look only with --dry-run" in message
