"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from polycompress.cli import main
from polycompress.cli.options import CODES, joined
from tests.command_line import invoke
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


def _options(command: Any, context: Any) -> list[tuple[str, Any]]:
    """All options of a command and of those in it, each with its command's name."""
    found = [(command.name, each) for each in command.params]
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        found += _options(command.get_command(context, name), context)
    return found


def test_every_option_of_languages_may_be_repeated() -> None:
    program: Any = get_command(main.app)
    found = [
        (name, each) for name, each in _options(program, program.make_context("polycompress", ["tasks"]))
    ]
    takes_languages = {
        (name, each.name)
        for name, each in found
        if each.metavar == CODES or {"--lang", "--langs", "--each", "--train-langs"} & set(each.opts)
    }
    assert {("trim", "langs"), ("trim", "each"), ("count", "lang"), ("eval", "langs"), ("mlm", "langs")} <= (
        takes_languages
    )
    for name, each in found:
        if (name, each.name) in takes_languages:
            assert each.multiple, f"{name} {each.opts}"


def test_languages_of_all_repetitions_count(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order given, each once."""
    words = ("trim", str(source), "--langs", "uk", "--langs", "de,uk", "--langs", "ru", "--dry-run", "--json")
    outcome = invoke(capsys, *words)
    assert outcome.code == 0, outcome.err
    assert list(json.loads(outcome.out)["plan"]["coverage"]) == ["ukr-Cyrl", "deu-Latn", "rus-Cyrl"]
    outcome = invoke(
        capsys, "trim", str(source), "--each", "sw,en", "--each", "uk", "--langs", "de", "--dry-run", "--json"
    )
    models = json.loads(outcome.out)["models"]
    assert [each["language"] for each in models] == ["swh-Latn", "eng-Latn", "ukr-Cyrl"]


def test_an_empty_option_of_languages_is_as_none(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, "trim", str(source), "--each", "", "--langs", "", "--dry-run")
    assert (outcome.code, "no language was given" in outcome.err) == (2, True)


def test_counting_takes_all_repetitions(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in ("xh", "vi"):
        (tmp_path / f"{code}.txt").write_text(f"text in {code}\n" * 20)
    outcome = invoke(
        capsys, "count", str(source), "--lang", "xh", "--langs", "vi", "--corpus", f"xh={tmp_path / 'xh.txt'}",
        "--corpus", f"vi={tmp_path / 'vi.txt'}", "--out", str(tmp_path / "counts.npz"), "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.out.index("xho-Latn") < outcome.out.index("vie-Latn")


def test_defaults_of_the_user_give_languages_as_text_or_list(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for written in ('"uk,de"', '["uk", "de"]'):
        config = tmp_path / "config.toml"
        config.write_text(f"[trim]\nlangs = {written}\n")
        monkeypatch.setenv("POLYCOMPRESS_CONFIG", str(config))
        outcome = invoke(capsys, "trim", str(source), "--dry-run", "--json")
        assert outcome.code == 0, outcome.err
        assert list(json.loads(outcome.out)["plan"]["coverage"]) == ["ukr-Cyrl", "deu-Latn"]


def test_joined_keeps_a_text_as_it_is() -> None:
    assert (joined("sw,en"), joined(["sw", "", "en,de"]), joined([])) == ("sw,en", "sw,en,de", "")


def test_a_failed_language_of_a_dry_run_leaves_no_models(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capsys, "trim", str(source), "--each", "de,yo", "--dry-run")
    assert outcome.code == 1
    assert "1 of 2 languages failed; nothing was written (--dry-run). yor-Latn: " in outcome.err
