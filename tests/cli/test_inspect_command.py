"""``polycompress inspect``: what it prints."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from polycompress.cli import console
from polycompress.pipelines import gathering, profile
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


def test_the_mixture_is_shown(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = SimpleNamespace(as_dict=lambda: {"shares": {"deu-Latn": 0.5}})
    modules = {
        "polycompress.pipelines.mixture": {"infer_mixture": lambda *_, **__: report},
        "polycompress.cli.mixture_view": {"show_mixture": lambda _: console.print_line("half German")},
    }
    for name, contents in modules.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    assert "half German" in invoke(capsys, "inspect", source, "--mixture", "de,en").out
    found = json.loads(invoke(capsys, "inspect", source, "--mixture", "de,en", "--json").out)
    assert found["mixture"] == {"shares": {"deu-Latn": 0.5}}


def test_wrong_requests_are_refused(source: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(
        capsys, tmp_path, "inspect", source, "--langs", "de", "--plot-overlap", tmp_path / "a.png"
    )
    assert message.startswith("--plot-overlap compares languages and needs two at least, not 1")
    message = refused(capsys, tmp_path, "inspect", source, "--langs", "de", "--plot", tmp_path / "a.bmp")
    assert "cannot draw a '.bmp' file" in message
    message = refused(capsys, tmp_path, "inspect", source, "--counts", tmp_path / "none.npz")
    assert "no such counts file" in message
