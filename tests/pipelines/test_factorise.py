from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from polycompress.errors import InputError
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.dense_export import export_dense
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.inspect import inspect
from polycompress.pipelines.mlm import mlm
from polycompress.pipelines.trim import trim
from polycompress.pipelines.trimming.loading import open_model
from polycompress.pipelines.verify import verify
from polycompress.training.model import load_encoder, load_language_model
from polycompress.vocab.counts import Counts, LanguageCounts, save_counts
from tests.pipelines.tiny_runs import equal, kill_at, until_done, write_corpora
from tests.tampering import change, drop, edit, shards, variant
from tests.tiny_models import make_tiny

TABLE = "roberta.embeddings.word_embeddings"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "plain", vocab_size=350)


@pytest.fixture(scope="module")
def factorised(source: Path) -> Path:
    factorise_model(source, rank=5, out=source.parent / "f", command=["polycompress", "factorise"])
    return source.parent / "f"


def states(path: Path) -> torch.Tensor:
    model = load_encoder(path).model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).last_hidden_state


def test_everything_but_the_table_is_the_source_s(source: Path, factorised: Path) -> None:
    before, after = (load_file(each / "model.safetensors") for each in (source, factorised))
    assert after.keys() == (before.keys() - {f"{TABLE}.weight"}) | {
        f"{TABLE}.coordinates", f"{TABLE}.primitives"
    }  # fmt: skip
    assert all(torch.equal(after[name], before[name]) for name in after.keys() & before.keys())
    assert (factorised / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    old, new = (read_json(each, "config.json") or {} for each in (source, factorised))
    changed = {"model_type": "factorised-xlm-roberta", "architectures": ["FactorisedXLMRobertaForMaskedLM"]}
    assert new == {**old, **changed, "factorised_rank": 5}
    values = torch.linalg.svdvals(before[f"{TABLE}.weight"].double())
    lost = before[f"{TABLE}.weight"] - after[f"{TABLE}.coordinates"] @ after[f"{TABLE}.primitives"]
    assert float(lost.double().square().sum()) == pytest.approx(float(values[5:].square().sum()), rel=1e-4)


def test_the_manifest_tells_what_was_lost(factorised: Path) -> None:
    found = read_manifest(factorised) or {}
    facts, sizes = found["factorisation"], found["sizes"]
    assert (facts["rank"], facts["split"], facts["width"]) == (5, "balanced", 16)
    assert 0 < facts["relative_error"] < 1 and 0 < facts["mean_cosine"] < 1
    tensors = load_file(factorised / "model.safetensors")
    assert sizes["after"]["bytes"] == sum(each.nbytes for each in tensors.values())
    assert sizes["after"]["parameters"] == sum(each.numel() for each in tensors.values())
    assert "import polycompress.auto" in (factorised / "README.md").read_text()


def test_a_dry_run_writes_nothing_and_says_the_same(source: Path, factorised: Path, tmp_path: Path) -> None:
    result = factorise_model(source, rank=5, out=tmp_path / "x", dry_run=True)
    assert result.out is None and not (tmp_path / "x").exists()
    facts = (read_manifest(factorised) or {})["factorisation"]
    assert result.overall.relative == pytest.approx(facts["relative_error"])
    assert dict(result.sizes["after"]) == (read_manifest(factorised) or {})["sizes"]["after"]


def counted(source: Path, path: Path, code: str, first: int) -> Path:
    """A counts file in which a language uses twelve tokens."""
    ids = np.arange(first, first + 12)
    language = LanguageCounts(
        ids=ids, counts=np.arange(1, 13), texts=9, characters=90, bytes=90, seen_once=1, source={}
    )
    vocabulary = open_model(source).vocabulary
    save_counts(
        Counts(tokenizer_sha256=vocabulary.sha256, vocab_size=vocabulary.size, languages={code: language}),
        path,
    )
    return path


def test_counts_report_languages_and_weights_spare_them(source: Path, tmp_path: Path) -> None:
    german = counted(source, tmp_path / "de.npz", "deu-Latn", 20)
    both = [german, counted(source, tmp_path / "en.npz", "eng-Latn", 100)]
    plain = factorise_model(source, rank=4, dry_run=True, counts=both)
    spared = factorise_model(source, rank=4, out=tmp_path / "f", weights=german, counts=both[1])
    assert plain.languages.keys() == spared.languages.keys() == {"deu-Latn", "eng-Latn"}
    assert spared.languages["deu-Latn"].relative < 0.8 * plain.languages["deu-Latn"].relative
    assert spared.overall.relative > plain.overall.relative
    assert "deu-Latn" in (tmp_path / "f" / "README.md").read_text()
    other = make_tiny("bert", "mlm", tmp_path / "other", vocab_size=300)
    with pytest.raises(InputError, match="tokenizer"):
        factorise_model(other, rank=4, dry_run=True, weights=both)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays(dtype: str, tmp_path: Path) -> None:
    plain = make_tiny("xlm-roberta", "base", tmp_path / "plain", vocab_size=300, dtype=dtype)
    factorise_model(plain, rank=16, out=tmp_path / "f", split="paper")
    export_dense(tmp_path / "f", out=tmp_path / "dense")
    old, new = (load_file(each / "model.safetensors") for each in (plain, tmp_path / "dense"))
    assert {name: each.dtype for name, each in old.items()} == {
        name: each.dtype for name, each in new.items()
    }
    name = "embeddings.word_embeddings.weight"
    gap = (old[name].float() - new[name].float()).abs().max()
    assert float(gap) < 0.03 * float(old[name].float().abs().max())


def test_shards_and_copies(tmp_path: Path) -> None:
    plain = make_tiny("xlm-roberta", "mlm", tmp_path / "plain", vocab_size=300, copies=True)
    assert "lm_head.decoder.weight" in load_file(plain / "model.safetensors")
    shards(plain)
    result = factorise_model(plain, rank=16, out=tmp_path / "f")
    loaded = load_language_model(tmp_path / "f", read_json(tmp_path / "f", "config.json") or {})
    assert not loaded.fresh and not loaded.unused
    assert result.sizes["after"]["parameters"] == loaded.model.num_parameters()
    torch.testing.assert_close(states(tmp_path / "f"), states(plain), rtol=1e-4, atol=1e-4)
    export_dense(tmp_path / "f", out=tmp_path / "dense")
    assert not load_language_model(
        tmp_path / "dense", read_json(tmp_path / "dense", "config.json") or {}
    ).fresh


def test_untied_encoder_decoders_are_refused(tmp_path: Path) -> None:
    plain = make_tiny("t5", "s2s", tmp_path / "plain", tied=False, vocab_size=300)
    with pytest.raises(InputError, match=r"lm_head.weight differ from shared.weight.*one\n? ?table serves"):
        factorise_model(plain, rank=4, out=tmp_path / "f")


def test_dense_export_gives_the_same_outputs(factorised: Path, tmp_path: Path) -> None:
    export_dense(factorised, out=tmp_path / "dense")
    config = read_json(tmp_path / "dense", "config.json") or {}
    assert config["model_type"] == "xlm-roberta" and "factorised_rank" not in config
    torch.testing.assert_close(states(tmp_path / "dense"), states(factorised), rtol=1e-5, atol=1e-5)
    manifest = read_manifest(tmp_path / "dense") or {}
    tensors = load_file(tmp_path / "dense" / "model.safetensors")
    assert manifest["sizes"]["after"]["bytes"] == sum(each.nbytes for each in tensors.values())


def test_inspect_counts_both_factors(factorised: Path) -> None:
    found = inspect(factorised)
    assert found.parameters["embeddings"] == found.rows * 5 and found.parameters["primitives"] == 5 * 16


def test_a_factorised_model_is_trimmed_by_its_coordinates(factorised: Path, tmp_path: Path) -> None:
    corpus = write_corpora(tmp_path, {"de": 60})
    result = trim(factorised, langs="de", corpus=corpus, frequencies=False, out=tmp_path / "de", full=True)
    assert result.certificate is not None and result.certificate.passed
    assert verify(factorised, tmp_path / "de", text=corpus).certificate.passed
    tensors = load_file(tmp_path / "de" / "model.safetensors")
    kept = len(result.plan.keep_ids)
    assert tensors[f"{TABLE}.coordinates"].shape == (kept, 5) and tensors[f"{TABLE}.primitives"].shape == (
        5,
        16,
    )


def test_pretraining_goes_on_sparsely_and_resumes_exactly(factorised: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "training": {"steps": 6, "log_every": 2, "snapshots": {"every_steps": 2},
                     "optimiser": {"learning_rate": 1e-2}, "schedule": {"warmup_steps": 1}},
        "batching": {"token_budget": 150}, "max_length": 32, "negatives": 60, "device": "cpu",
    }  # fmt: skip
    given: dict[str, Any] = {
        "langs": "de,en", "corpus": write_corpora(tmp_path, {"de": 40, "en": 40}),
        "settings": {**settings, "loss": "sampled"},
    }  # fmt: skip
    torch.manual_seed(0)
    mlm(factorised, out=tmp_path / "whole", **given)
    kill = kill_at([4])
    torch.manual_seed(0)
    until_done(lambda: mlm(factorised, out=tmp_path / "killed", resume=True, progress=kill, **given))
    assert equal(tmp_path / "whole" / "final", tmp_path / "killed" / "final")
    before, after = (
        load_file(each / "model.safetensors") for each in (factorised, tmp_path / "whole" / "final")
    )
    for factor in ("coordinates", "primitives"):
        assert not torch.equal(before[f"{TABLE}.{factor}"], after[f"{TABLE}.{factor}"])
    assert (read_manifest(tmp_path / "whole" / "final") or {})["training"]["sparse_table"] is True
    export_dense(tmp_path / "whole" / "final", out=tmp_path / "dense")


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (edit("config.json", factorised_rank=4), "the rank is 5 in the coordinates.*4 in config.json"),
        (drop("model.safetensors"), "neither model.safetensors"),
        (change("config.json", lambda config: config.update(vocab_size=3)), "vocab_size 3"),
    ],
)
def test_damaged_factors_are_refused(factorised: Path, tmp_path: Path, tamper: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        export_dense(variant(factorised, tmp_path / "bad", tamper), out=tmp_path / "dense")
    assert not (tmp_path / "dense").exists()


def test_missing_primitives_are_named(factorised: Path, tmp_path: Path) -> None:
    bad = variant(factorised, tmp_path / "bad")
    tensors = load_file(bad / "model.safetensors")
    del tensors[f"{TABLE}.primitives"]
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"no tensor 'roberta.embeddings.word_embeddings.primitives'"):
        export_dense(bad, out=tmp_path / "dense")


def test_wrong_requests_are_refused(source: Path, factorised: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rank 17: the table is 16 wide"):
        factorise_model(source, rank=17, out=tmp_path / "x")
    with pytest.raises(InputError, match="factorised already"):
        factorise_model(factorised, rank=3, out=tmp_path / "x")
    with pytest.raises(InputError, match="its table is plain already"):
        export_dense(source, out=tmp_path / "x")
    with pytest.raises(InputError, match="no output directory"):
        factorise_model(source, rank=3)
    with pytest.raises(InputError, match="split is 'even'"):
        factorise_model(source, rank=3, out=tmp_path / "x", split="even")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_values_that_are_no_numbers_are_refused(source: Path, tmp_path: Path) -> None:
    bad = variant(source, tmp_path / "bad")
    tensors = load_file(bad / "model.safetensors")
    tensors[f"{TABLE}.weight"][3, 2] = float("nan")
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not numbers"):
        factorise_model(bad, rank=3, out=tmp_path / "x")


def test_surgery_needs_no_torch() -> None:
    code = (
        "import sys, polycompress.pipelines.factorise, polycompress.pipelines.dense_export\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_values_are_those_of_numpy(source: Path, factorised: Path) -> None:
    table = load_file(source / "model.safetensors")[f"{TABLE}.weight"].numpy()
    left, values, right = np.linalg.svd(table, full_matrices=False)
    stored = load_file(factorised / "model.safetensors")
    made = (stored[f"{TABLE}.coordinates"] @ stored[f"{TABLE}.primitives"]).numpy()
    np.testing.assert_allclose(made, (left[:, :5] * values[:5]) @ right[:5], atol=1e-4)
