"""Verifying anew, models of our own and of others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from polycompress import trim, verify
from polycompress.errors import InputError
from polycompress.modeldir.tensors import open_checkpoint
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    source = make_tiny("bert", "mlm", root / "source", vocab_size=400)
    text = root / "de.txt"
    text.write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    trim(source, langs="de", corpus=str(text), frequencies=False, coverage=1.0, out=root / "trimmed")
    return source, root / "trimmed"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "held.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return path


def test_a_good_model_passes(models: tuple[Path, Path], text: Path) -> None:
    result = verify(*models, text=str(text), full=True)
    certificate = result.certificate
    assert certificate.passed
    assert certificate.rows.tensors >= 1
    assert certificate.rows.others > 0
    found = certificate.languages["deu-Latn"]
    assert found.texts == len(TEXTS)
    assert 3 <= found.identical < found.texts, "the other languages' sentences lost tokens"
    assert found.kept_only == found.kept_only_identical
    assert certificate.full is not None
    assert certificate.full.hidden_max_abs == 0.0
    json.dumps(result.as_dict())


def test_words_are_used_where_no_text_is_given(models: tuple[Path, Path]) -> None:
    found = verify(*models).certificate.languages["deu-Latn"]
    assert "words" in found.source
    assert found.texts > 100


def test_without_a_manifest_tokens_are_found_by_their_strings(
    models: tuple[Path, Path], tmp_path: Path, text: Path
) -> None:
    shutil.copytree(models[1], tmp_path / "foreign")
    (tmp_path / "foreign" / "polycompress.json").unlink()
    result = verify(models[0], tmp_path / "foreign", text=str(text))
    assert result.certificate.passed
    assert result.certificate.languages["text"].texts == len(TEXTS)
    with pytest.raises(InputError, match="no text to segment"):
        verify(models[0], tmp_path / "foreign")


@pytest.mark.parametrize("place", ["row", "other"])
def test_one_bit_is_enough_to_fail(models: tuple[Path, Path], tmp_path: Path, text: Path, place: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models[1], broken)
    tensors = open_checkpoint(broken).tensors
    name = (
        "bert.embeddings.word_embeddings.weight"
        if place == "row"
        else "bert.encoder.layer.1.output.dense.weight"
    )
    raw = bytearray((broken / "model.safetensors").read_bytes())
    raw[tensors[name].begin + 5] ^= 1
    (broken / "model.safetensors").write_bytes(raw)
    certificate = verify(models[0], broken, text=str(text)).certificate
    assert not certificate.passed
    assert any(("row differs" if place == "row" else name) in failure for failure in certificate.failures())


def test_a_changed_tokenizer_fails(models: tuple[Path, Path], tmp_path: Path, text: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models[1], broken)
    state = json.loads((broken / "tokenizer.json").read_text())
    state["normalizer"] = {"type": "Lowercase"}
    (broken / "tokenizer.json").write_text(json.dumps(state))
    certificate = verify(models[0], broken, text=str(text)).certificate
    assert not certificate.passed
    assert "segmented differently" in certificate.failures()[0]


def test_tokens_that_changed_places_are_refused_though_no_text_has_them(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models[1], broken)
    state = json.loads((broken / "tokenizer.json").read_text())
    vocabulary = state["model"]["vocab"]
    first, second = (piece for piece in vocabulary if piece in ("!", "?"))
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (broken / "tokenizer.json").write_text(json.dumps(state))
    text = tmp_path / "plain.txt"
    text.write_text("Der Hund", encoding="utf-8")
    expected = (
        r"token \d+ is '[!?]', but polycompress\.json keeps id \d+ there, which is '[!?]' in the source"
    )
    with pytest.raises(InputError, match=expected):
        verify(models[0], broken, text=str(text))


def test_models_that_do_not_belong_together_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    other = make_tiny("bert", "mlm", tmp_path / "other", vocab_size=300, hidden_size=48)
    with pytest.raises(
        InputError, match=r"was not trimmed from|changed after it was made|was expected|in the order"
    ):
        verify(other, models[1])


def test_a_manifest_that_does_not_fit_is_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models[1], broken)
    manifest = json.loads((broken / "polycompress.json").read_text())
    manifest["kept_ids"] = [[0, 7]]
    (broken / "polycompress.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"keeps 7 ids, but tokenizer\.json has"):
        verify(models[0], broken)
