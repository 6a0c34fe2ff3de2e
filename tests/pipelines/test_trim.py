"""Trimming from end to end, on tiny models with real tokenizers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from polycompress import inspect, trim
from polycompress.errors import CertificateError, InputError
from polycompress.modeldir.manifest import unpack_ids, write_manifest
from polycompress.modeldir.tensors import Checkpoint, RowSlice, open_checkpoint
from polycompress.pipelines.trimming import writing as trim_writing
from polycompress.pipelines.trimming.request import choose_limit
from tests.tiny_models import TEXTS, make_tiny

GERMAN = [text for text in TEXTS if "ist das" in text or "Fuchs" in text]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "de.txt"
    path.write_text(
        "\n".join(f"{text} {number}" for number in range(40) for text in GERMAN), encoding="utf-8"
    )
    return f"de={path}"


def test_a_trim_keeps_what_the_corpus_needs(source: Path, corpus: str, tmp_path: Path) -> None:
    result = trim(source, langs="de", corpus=corpus, frequencies=False, coverage=1.0, out=tmp_path / "out")
    out = tmp_path / "out"
    keep = result.plan.keep_ids
    assert result.certificate is not None
    assert result.certificate.passed
    assert (
        result.certificate.languages["deu-Latn"].identical
        == result.certificate.languages["deu-Latn"].texts
        > 0
    )
    before, after = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    for name in before:
        rows = (
            before[name][keep]
            if before[name].shape[0] == result.plan.sizes["before"]["rows"]
            else before[name]
        )
        assert np.array_equal(rows.view(np.uint32), after[name].view(np.uint32)), name
    old, new = (
        Tokenizer.from_file(str(source / "tokenizer.json")),
        Tokenizer.from_file(str(out / "tokenizer.json")),
    )
    for text in GERMAN:
        assert keep[new.encode(text).ids].tolist() == old.encode(text).ids
    assert json.loads((out / "config.json").read_text())["vocab_size"] == len(keep)


def test_the_manifest_tells_everything(source: Path, corpus: str, tmp_path: Path) -> None:
    result = trim(source, langs=["German"], corpus=[corpus], size=140, out=tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "polycompress.json").read_text())
    assert unpack_ids(manifest["kept_ids"]).tolist() == result.plan.keep_ids.tolist()
    assert sum(manifest["kept_by"].values()) == len(result.plan.keep_ids) == 140
    assert manifest["command"][:2] == ["polycompress", "trim"]
    assert manifest["config"]["size"] == 140
    assert len(manifest["source"]["files"]["model.safetensors"]) == 64
    assert manifest["certificate"]["rows"]["identical"] == manifest["certificate"]["rows"]["rows"]
    assert "140" in (tmp_path / "out" / "README.md").read_text()


def test_how_the_source_was_tuned_stays_known(corpus: str, tmp_path: Path) -> None:
    tuned = make_tiny("xlm-roberta", "sequence", tmp_path / "tuned", vocab_size=400)
    facts = {"task": "xnli", "train_languages": ["eng-Latn"], "protocol": "as published"}
    write_manifest(tuned, {"finetuning": facts})
    trim(tuned, langs="de", corpus=corpus, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "polycompress.json").read_text())["finetuning"] == facts
    (tuned / "polycompress.json").write_text("{")
    trim(tuned, langs="de", corpus=corpus, out=tmp_path / "other")
    assert "finetuning" not in json.loads((tmp_path / "other" / "polycompress.json").read_text())


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    result = trim(source, langs="de", coverage=0.9, dry_run=True, out=tmp_path / "out")
    assert result.out is None
    assert not list(tmp_path.iterdir())
    assert result.plan.coverage["deu-Latn"] >= 0.9
    json.dumps(result.as_dict())


def test_required_tokens_are_kept_whatever_the_size(source: Path) -> None:
    least = trim(source, langs="de", coverage=1e-9, dry_run=True).plan
    texts = {rule: len(ids) for rule, ids in least.rules.items()}
    assert texts["special"] >= 5
    assert texts["character of the scripts"] > 20
    with pytest.raises(InputError, match=rf"smaller than the {len(least.keep_ids)} tokens that must be kept"):
        trim(source, langs="de", size=len(least.keep_ids) - 1, dry_run=True)
    assert len(trim(source, langs="de", size=len(least.keep_ids), dry_run=True).plan.keep_ids) == len(
        least.keep_ids
    )


def test_named_tokens_are_kept(source: Path, tmp_path: Path) -> None:
    names = tmp_path / "keep.txt"
    names.write_text("Москва\n北京\n", encoding="utf-8")
    small = trim(source, langs="de", coverage=0.5, dry_run=True).plan
    named = trim(source, langs="de", coverage=0.5, keep=names, keep_regex=["^ ?[α-ω]+$"], dry_run=True).plan
    assert len(named.rules["keep file"]) >= 2
    assert len(named.rules["keep pattern"]) >= 5
    assert set(small.keep_ids.tolist()) < set(named.keep_ids.tolist())
    with pytest.raises(InputError, match="not a valid pattern"):
        trim(source, langs="de", keep_regex="(", dry_run=True)
    with pytest.raises(InputError, match="fits none of the"):
        trim(source, langs="de", keep_regex="nothing like it", dry_run=True)


def test_languages_are_balanced_by_their_maximum(source: Path, tmp_path: Path) -> None:
    """A thousand times more German text must not push out Greek."""
    german, greek = tmp_path / "de.txt", tmp_path / "el.txt"
    german.write_text("\n".join(f"{text} {n}" for n in range(2000) for text in GERMAN), encoding="utf-8")
    greek.write_text("Η Αθήνα είναι η πρωτεύουσα της Ελλάδας.\n" * 2, encoding="utf-8")
    plan = trim(
        source,
        langs="de,el",
        corpus=[f"de={german}", f"el={greek}"],
        frequencies=False,
        coverage=0.99,
        dry_run=True,
    ).plan
    assert min(plan.coverage.values()) >= 0.99


def test_padding_rows_are_masked(source: Path, tmp_path: Path) -> None:
    result = trim(source, langs="de", coverage=0.9, pad_to_multiple_of=64, out=tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    rows = tensors["roberta.embeddings.word_embeddings.weight"]
    kept = len(result.plan.keep_ids)
    assert rows.shape[0] % 64 == 0
    assert result.plan.pad_rows == rows.shape[0] - kept
    assert not rows[kept:].any()
    assert (tensors["lm_head.bias"][kept:] == -1e4).all()


def test_a_failed_certificate_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trim_writing.write_sliced

    def spoil(checkpoint: Checkpoint, out: Path, slices: dict[str, RowSlice], **options: Any) -> Any:
        report = real(checkpoint, out, slices, **options)
        path = out / "model.safetensors"
        raw = bytearray(path.read_bytes())
        raw[open_checkpoint(out).tensors[next(iter(slices))].begin] ^= 1
        path.write_bytes(raw)
        return report

    monkeypatch.setattr(trim_writing, "write_sliced", spoil)
    with pytest.raises(
        CertificateError, match=r"failed its certificate: a row differs from its source: .*, row 0"
    ):
        trim(source, langs="de", coverage=0.9, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_python_and_the_command_line_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    from polycompress.cli.main import run

    trim(source, langs="de", size=140, out=tmp_path / "a")
    assert run(["trim", str(source), "--langs", "de", "--size", "140", "--out", str(tmp_path / "b")]) == 0
    for name in ("model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_corpus_may_be_a_path(source: Path, corpus: str) -> None:
    path = Path(corpus.removeprefix("de="))
    wanted = trim(source, langs="de", corpus=corpus, dry_run=True).plan.keep_ids
    for given in (path, [path], (str(path),)):
        assert np.array_equal(trim(source, langs="de", corpus=given, dry_run=True).plan.keep_ids, wanted)


def test_a_tokenizer_of_an_old_file_is_called_by_its_type(source: Path, tmp_path: Path) -> None:
    model = tmp_path / "old"
    shutil.copytree(source, model)
    document = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    del document["model"]["type"]
    (model / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    assert trim(model, langs="de", dry_run=True).plan.tokenizer_type == "Unigram"
    assert inspect(model).tokenizer_type == "Unigram"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": 0.5, "size": 5}, "--coverage and --size cannot be combined"),
        ({"coverage": 1.5}, "--coverage is a share between 0 and 1"),
        ({"size": 0}, "--size is a number of tokens"),
        ({"min_count": 0}, "--min-count is a number of occurrences"),
    ],
)
def test_limits_are_checked(options: dict[str, float], message: str) -> None:
    asked = {"coverage": None, "size": None, "min_count": None} | options
    with pytest.raises(InputError, match=message):
        choose_limit(**asked)  # type: ignore[arg-type]


def test_min_count_takes_the_corpus_at_its_word(source: Path, corpus: str) -> None:
    plan = trim(source, langs="de", corpus=corpus, frequencies=False, min_count=2, dry_run=True).plan
    assert len(plan.rules["min count"]) > 10
    with pytest.raises(InputError, match="--min-count counts occurrences in a corpus"):
        trim(source, langs="de", min_count=2, dry_run=True)


def test_min_share_keeps_what_is_frequent_enough(source: Path, corpus: str) -> None:
    def kept(share: float) -> set[int]:
        plan = trim(source, langs="de", corpus=corpus, frequencies=False, min_share=share, dry_run=True).plan
        return set(plan.rules.get("min share", np.array([])).tolist())

    assert len(kept(1e-6)) > len(kept(0.02)) > 0
    assert kept(0.02) < kept(1e-6)
    with pytest.raises(InputError, match="--min-share is a relative frequency between 0 and 1"):
        kept(1.0)


def test_generation_suppresses_padding_rows_without_a_bias(tmp_path: Path) -> None:
    source = make_tiny("llama", "clm", tmp_path / "llama", tied=False)
    result = trim(source, langs="de", coverage=0.9, pad_to_multiple_of=128, out=tmp_path / "out")
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    kept = len(result.plan.keep_ids)
    assert set(range(kept, kept + result.plan.pad_rows)) <= set(generation["suppress_tokens"])
    assert "softmax over all rows" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(("family", "head"), [("bert", "base"), ("bert", "token"), ("llama", "sequence")])
def test_padding_rows_of_a_model_without_an_output_table_need_no_mask(
    family: str, head: str, tmp_path: Path
) -> None:
    source = make_tiny(family, head, tmp_path / "source")
    (source / "generation_config.json").unlink(missing_ok=True)
    result = trim(source, langs="de", coverage=0.9, pad_to_multiple_of=128, out=tmp_path / "out")
    assert result.plan.pad_rows
    assert not (tmp_path / "out" / "generation_config.json").exists()
    assert "softmax over all rows" not in (tmp_path / "out" / "README.md").read_text()


def test_a_language_nothing_is_known_of_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no built-in word frequencies for Swahili.*--corpus"):
        trim(source, langs="sw", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", "mlm"),
        ("mt5", "s2s"),
        ("mbart", "s2s"),
        ("llama", "clm"),
        ("gpt2", "clm"),
        ("qwen3", "clm"),
        ("xglm", "clm"),
    ],
)
@pytest.mark.integration
def test_full_certificates_hold_for_every_kind_of_model(
    family: str, head: str, tmp_path: Path, corpus: str
) -> None:
    tied = False if family == "mt5" else None
    source = make_tiny(family, head, tmp_path / family, tied=tied)
    result = trim(source, langs="de", corpus=corpus, size=380, full=True, out=tmp_path / "out")
    assert result.certificate is not None
    assert result.certificate.full is not None
    assert result.certificate.full.hidden_max_abs == 0.0
    assert result.certificate.full.logits_max_abs is not None
    assert result.certificate.full.texts > 0


def test_text_in_columns(source: Path, corpus: str, tmp_path: Path) -> None:
    plain = Path(corpus.removeprefix("de="))
    lines = plain.read_text(encoding="utf-8").splitlines()
    records = tmp_path / "de.jsonl"
    records.write_text("".join(json.dumps({"body": line}) + "\n" for line in lines), encoding="utf-8")
    asked: dict[str, Any] = {"langs": "de", "frequencies": False, "coverage": 1.0, "dry_run": True}
    from_lines = trim(source, corpus=corpus, **asked)
    from_records = trim(source, corpus=f"de={records}", field="body", **asked)
    assert np.array_equal(from_lines.plan.keep_ids, from_records.plan.keep_ids)
    with pytest.raises(InputError, match="body"):
        trim(source, corpus=f"de={records}", field="text", **asked)
