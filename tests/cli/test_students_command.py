"""``polycompress students``: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress.pipelines.students import NO_EVIDENCE
from tests.command_line import invoke, refused
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_tiny("bert", "base", tmp_path_factory.mktemp("models") / "tiny", num_hidden_layers=4)
    (path.parent / "en.txt").write_text("\n".join(TEXTS * 10), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    from polycompress.pipelines.trimming import gathering

    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "160")


def asked(source: Path, *more: str) -> tuple[str | Path, ...]:
    corpus = f"en={source.parent / 'en.txt'}"
    return ("students", source, "--langs", "en", "--corpus", corpus, "--seeds", "1", "--tokens", "100", *more)


def test_the_table_says_what_the_json_says(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, *asked(source, "--budget", "1M", "--hidden", "8,16"))
    assert outcome.code == 0, outcome.err
    assert "tiny, within 1M: 6 of 6 shapes" in outcome.out
    assert f"note: {NO_EVIDENCE}" in outcome.out
    plain = invoke(capsys, *asked(source, "--budget", "1M", "--hidden", "8,16", "--json"))
    found = json.loads(plain.out)
    assert plain.code == 0
    assert len(found["students"]) == 6
    best = found["students"][0]
    assert best["rank"] == 1
    assert f"{best['score']:.4f}" in outcome.out
    assert {"layers", "hidden", "tokens", "parameters", "bytes", "semantic", "relation"} <= best.keys()


def test_latency_has_a_column_of_its_own(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, *asked(source, "--budget", "60000ms", "--layers", "1", "--hidden", "8"))
    assert outcome.code == 0, outcome.err
    assert "latency" in outcome.out
    assert " ms" in outcome.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--budget", "20"), "--budget '20' does not say of what"),
        (("--budget", "1M", "--layers", "two"), "--layers 'two': write whole numbers"),
        (("--budget", "0.5K"), "--budget 0.5K: too small"),
        (("--budget", "1M", "--layers", "9"), "--layers 9: the teacher has 4"),
    ],
)
def test_what_is_wrong_is_said(
    source: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, tmp_path, *asked(source, *more))
