"""Directories for sentence-transformers: loaded by the library itself, to the vectors that evaluation compares."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.evaluation.forward import embed
from polycompress.evaluation.models import load_task_model
from polycompress.evaluation.pooling import read_pooling
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.sentence_modules import MODES
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.sentence_export import export_sentence_transformers
from polycompress.pipelines.trimming.loading import open_model
from tests.evaluation.tiny_task_models import tiny
from tests.tampering import edit, variant
from tests.tiny_models import TEXTS, make_tiny


def vectors(path: Path, texts: list[str] | None = None, **options: Any) -> np.ndarray:
    """What the library makes of the texts."""
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: np.ndarray = library.SentenceTransformer(str(path), device="cpu").encode(
            texts or list(TEXTS), **options
        )
    return found


def ours(path: Path) -> np.ndarray:
    return embed(load_task_model(path, "retrieval", device="cpu", precision="fp32"), list(TEXTS))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("bert", "base", tmp_path_factory.mktemp("models") / "encoder")


@pytest.mark.parametrize("pooling", [None, *MODES])
def test_the_library_makes_the_same_vectors(encoder: Path, tmp_path: Path, pooling: str | None) -> None:
    found = export_sentence_transformers(encoder, out=tmp_path / "out", pooling=pooling)
    assert found.pooling == (pooling or "mean")
    assert read_pooling(tmp_path / "out").modes == (pooling or "mean",)
    np.testing.assert_allclose(vectors(tmp_path / "out"), ours(tmp_path / "out"), atol=1e-5)
    if pooling in (None, "mean"):
        np.testing.assert_allclose(ours(tmp_path / "out"), ours(encoder), atol=1e-6)


@pytest.mark.parametrize(
    ("family", "head"), [("xlm-roberta", "mlm"), ("distilbert", "base"), ("roberta", "token")]
)
def test_other_families_and_heads(family: str, head: str, tmp_path: Path) -> None:
    source = tiny(family, head, tmp_path / "source")
    edit("tokenizer_config.json", model_max_length=1000)(source)
    export_sentence_transformers(source, out=tmp_path / "out")
    np.testing.assert_allclose(vectors(tmp_path / "out"), ours(source), atol=1e-5)
    weights = "model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (source / weights).read_bytes()
    length = json.loads((tmp_path / "out" / "sentence_bert_config.json").read_text())["max_seq_length"]
    assert length == 72 - 2 * (family in ("xlm-roberta", "roberta"))
    long = " ".join(TEXTS)
    assert np.isfinite(vectors(tmp_path / "out", [long])).all()  # cut to what there are positions for


def test_a_model_s_own_modules_and_prompts_are_kept(encoder: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    export_sentence_transformers(encoder, out=first, pooling="cls")
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (first / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    found = export_sentence_transformers(first, out=tmp_path / "second")
    assert found.pooling is None
    for name in ("modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"):
        assert (tmp_path / "second" / name).read_bytes() == (first / name).read_bytes()
    np.testing.assert_allclose(vectors(tmp_path / "second"), ours(first), atol=1e-5)
    plain = vectors(tmp_path / "second", prompt="")
    assert np.abs(plain - ours(first)).max() > 1e-3  # the prompt matters
    assert "as the source's own files say" in (tmp_path / "second" / "README.md").read_text()
    with pytest.raises(InputError, match=r"first/modules\.json: says how .* leave --pooling out"):
        export_sentence_transformers(first, out=tmp_path / "third", pooling="mean")


def test_a_factorised_model_loads_with_our_classes(tmp_path: Path) -> None:
    import polycompress.auto  # noqa: F401

    factorise_model(tiny("xlm-roberta", "mlm", tmp_path / "plain"), rank=5, out=tmp_path / "f", command=[])
    export_sentence_transformers(tmp_path / "f", out=tmp_path / "out")
    np.testing.assert_allclose(vectors(tmp_path / "out"), ours(tmp_path / "f"), atol=1e-5)
    assert "import polycompress.auto" in (tmp_path / "out" / "README.md").read_text()


def test_the_record(encoder: Path, tmp_path: Path) -> None:
    found = export_sentence_transformers(encoder, out=tmp_path / "out", command=["polycompress", "export"])
    manifest = read_manifest(tmp_path / "out") or {}
    assert manifest["export"] == {"form": "sentence-transformers", "pooling": "mean"}
    assert manifest["source"]["files"].keys() == {"config.json", "tokenizer.json", "model.safetensors"}
    assert found.as_dict() == {"out": str(tmp_path / "out"), "source": "encoder", "pooling": "mean"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "library_name: sentence-transformers" in card and "polycompress.auto" not in card
    open_model(tmp_path / "out")  # still a model directory


def test_what_is_refused(encoder: Path, tmp_path: Path) -> None:
    experts = variant(encoder, tmp_path / "e", edit("config.json", model_type="moe-bert"))
    widthless = variant(encoder, tmp_path / "w", edit("config.json", hidden_size="16"))
    seq = make_tiny("t5", "s2s", tmp_path / "t5")
    for model, pooling, message in (
        (encoder, "median", r"--pooling is 'median'; known are cls, max"),
        (experts, None, r"has experts.*polycompress moe extract .*/e --family NAME"),
        (widthless, None, r"does not say how wide hidden states are"),
        (seq, None, "an encoder-decoder gives no vectors"),
        (tmp_path / "none", None, "no such directory"),
    ):
        with pytest.raises(InputError, match=message):
            export_sentence_transformers(model, out=tmp_path / "out", pooling=pooling)
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="is or holds the model"):
        export_sentence_transformers(encoder, out=encoder, overwrite=True)
