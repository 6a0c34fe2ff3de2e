"""``polycompress inspect``: what it prints."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from polycompress.pipelines.trimming import gathering, profile
from tests.command_line import invoke, refused
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture(autouse=True)
def short_word_lists(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setattr(profile, "FORMS", 5_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def swahili(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sw.txt.gz"
    path.write_bytes(gzip.compress("\n".join(f"Habari ya leo {n}" for n in range(90)).encode()))
    return path


@pytest.mark.usefixtures("swahili")
def test_the_command_of_the_manual(source: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    outcome = invoke(
        capsys,
        *("inspect", source, "--langs", "de,tr,zh,yo", "--corpus", "sw=sw.txt.gz", "--plot", "frontier.png"),
        *("--plot-overlap", "overlap.svg"),
    )
    assert outcome.code == 0, outcome.err
    for heading in (
        "German (deu-Latn)",
        "Turkish (tur-Latn)",
        "Swahili (swh-Latn)",
        "Shared use of the vocab",
    ):
        assert heading in outcome.out
    assert "How the vocabulary suits each language" in outcome.out
    assert "weighted Jaccard index: " in outcome.out
    assert "measured on word frequencies: German, Turkish, Chinese" in outcome.out
    assert "measured on corpus: Swahili\n" in outcome.out
    assert "Yoruba (yor-Latn): no built-in word frequencies and no corpus" in outcome.out
    assert "Chinese (Simplified) letters that become unknown or bytes: " in outcome.out
    assert " more\n" in outcome.out
    assert outcome.out.rstrip().endswith("frontier drawn to frontier.png\noverlap drawn to overlap.svg")
    assert (tmp_path / "frontier.png").stat().st_size > 1000
    assert (tmp_path / "overlap.svg").stat().st_size > 1000
    # Nothing is wider than a terminal of 80 columns, but sentences.
    assert all(len(line) <= 80 for line in outcome.out.splitlines() if "─" in line or "%" in line[:79])


@pytest.mark.usefixtures("swahili")
def test_json_has_all_of_it(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, "inspect", source, "--langs", "de", "--corpus", "sw=sw.txt.gz", "--json")
    found = json.loads(outcome.out)
    assert set(found["profiles"]) == {"deu-Latn", "swh-Latn"} == set(found["frontiers"])
    assert set(found["profiles"]["deu-Latn"]) == {
        *("text", "tokens_per_character", "tokens_per_word", "continued_words", "unknown", "bytes"),
        *("used", "used_share", "letters"),
    }
    assert found["overlap"]["languages"] == ["deu-Latn", "swh-Latn"]
    assert found["mixture"] is None


def test_many_languages_share_a_picture_not_a_table(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    langs = "de,en,fr,es,it,pt,nl,pl,ru,tr,cs,fi,sv"
    outcome = invoke(capsys, "inspect", source, "--langs", langs)
    assert "what 13 languages share of the vocabulary: see --plot-overlap FILE or --json" in outcome.out


def test_the_mixture_is_shown(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {}
    for code, count in (("de", 3000), ("sw", 1000)):
        with gzip.open(data_dir / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as file:
            lines[code] = list(islice(file, count + 3000))
        (tmp_path / f"{code}.txt").write_text("".join(lines[code][count:]), encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines["de"][:3000] + lines["sw"][:1000], trainer)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 1500}')
    tokenizer.save(str(model / "tokenizer.json"))
    save_file({"transformer.wte.weight": np.zeros((1500, 16), np.float32)}, model / "model.safetensors")
    asked = ["inspect", model, "--mixture", "de,sw", "--merges", "400"]
    asked += [word for code in ("de", "sw") for word in ("--corpus", f"{code}={tmp_path / code}.txt")]
    outcome = invoke(capsys, *asked)
    assert outcome.code == 0, outcome.err
    assert "German" in outcome.out
    mixture = json.loads(invoke(capsys, *asked, "--json").out)["mixture"]
    sizes = {code: len("".join(lines[code][:count]).encode()) for code, count in (("de", 3000), ("sw", 1000))}
    assert mixture["shares"]["deu-Latn"]["share"] == pytest.approx(sizes["de"] / sum(sizes.values()), abs=0.1)


def test_wrong_requests_are_refused(source: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(
        capsys, tmp_path, "inspect", source, "--langs", "de", "--plot-overlap", tmp_path / "a.png"
    )
    assert message.startswith("--plot-overlap compares languages and needs two at least, not 1")
    message = refused(capsys, tmp_path, "inspect", source, "--langs", "de", "--plot", tmp_path / "a.bmp")
    assert "cannot draw a '.bmp' file" in message
    message = refused(capsys, tmp_path, "inspect", source, "--counts", tmp_path / "none.npz")
    assert "no such counts file" in message
