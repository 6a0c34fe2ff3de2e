"""The user's configuration: whose values hold, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from polycompress.cli.defaults import config_file
from polycompress.evaluation.toml_tables import MAX_BYTES, MAX_DOTS
from tests.command_line import Outcome, invoke, refused


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "polycompress" / "config.toml"
    path.parent.mkdir(parents=True)
    monkeypatch.delenv("POLYCOMPRESS_CONFIG", raising=False)
    monkeypatch.delenv("POLYCOMPRESS_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "argv", ["polycompress"])
    return path


def names(outcome: Outcome) -> set[str]:
    assert outcome.code == 0, outcome
    return {language["name"] for language in json.loads(outcome.out)["languages"]}


def test_a_value_stands_where_none_is_typed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[languages]\nfamily = "Romance"\njson = true\n', encoding="utf-8")
    romance = names(invoke(capsys, "languages"))
    assert "French" in romance
    assert "German" not in romance
    germanic = names(invoke(capsys, "languages", "--family", "Germanic"))
    assert "German" in germanic
    assert "French" not in germanic


def test_a_command_records_what_it_took(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[languages]\nfamily = "Romance"\njson = true\n', encoding="utf-8")
    invoke(capsys, "languages", "--json")
    assert sys.argv == ["polycompress", "--family", "Romance"]


def test_the_environment_comes_before_it(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(f'[tasks]\ndata = "{tmp_path}/of-the-file"\n', encoding="utf-8")
    assert f"{tmp_path}/of-the-file" in invoke(capsys, "tasks", "xnli").err
    monkeypatch.setenv("POLYCOMPRESS_DATA", f"{tmp_path}/of-the-environment")
    assert f"{tmp_path}/of-the-environment" in invoke(capsys, "tasks", "xnli").err
    assert f"{tmp_path}/typed" in invoke(capsys, "tasks", "xnli", "--data", tmp_path / "typed").err


def test_numbers_lists_and_truths_are_recorded_as_they_are_typed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a command records of itself in cards and manifests is ``sys.argv``."""
    config.write_text(
        '[trim]\ncorpus = ["a", "b"]\nsize = 300\nfull = true\nlink = false\n', encoding="utf-8"
    )
    sys.argv = ["polycompress", "trim", "none"]
    assert "no output directory was given" in refused(capsys, tmp_path, "trim", "none", "--langs", "de")
    assert sys.argv[3:] == ["--corpus", "a", "--corpus", "b", "--size", "300", "--full"]


def test_groups_have_tables_of_tables(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("[ofa]\nrank = [3]\n[ofa.export]\ndense = 3\n[bistil.general]\nlayers = true\n")
    for words, fault in (
        (("ofa", "demo"), "ofa.rank is [3]: give one value."),
        (("ofa", "export", "demo"), "ofa.export.dense is 3: give true or false."),
        (("bistil", "general", "demo"), "bistil.general.layers is True: give text or a number."),
    ):
        outcome = invoke(capsys, *words)
        assert (outcome.code, outcome.err) == (2, f"error: {config}: a fault:\n  {fault}\n")


def test_every_fault_at_once_with_what_was_meant(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(
        "colour = true\n[trimm]\n[moe.tain]\n[trim]\nsise = 3\njson = 'yes'\ncorpus = 'a'\n"
        "coverage = [1]\nmodel = 'demo'\nkeep = 1979-05-27\nhelp = true\nsize = 'many'\n",
        encoding="utf-8",
    )
    first, *faults, size = refused(capsys, tmp_path, "trim", "demo").splitlines()
    assert first == f"{config}: 11 faults:"
    assert size.startswith("  trim.size is 'many': ")  # and what typer says
    assert faults == [
        "  colour is no command.",
        "  trimm is no command. Did you mean trim?",
        "  moe.tain is no command. Did you mean train?",
        "  trim.sise is no option of this command. Did you mean size?",
        "  trim.json is 'yes': give true or false.",
        "  trim.corpus is 'a': give a list of values.",
        "  trim.coverage is [1]: give one value.",
        "  trim.model is no option of this command.",
        "  trim.keep is datetime.date(1979, 5, 27): give text or a number.",
        "  trim.help is no option of this command.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[trim\n", "not TOML (Expected ']'"),
        (b"[trim]\nsize = \n", "(at line 2, column 8)"),
        (b"\xff", "not TOML ('utf-8' codec"),
        (b"#" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
        (b"trim = 3", "trim is 3: give a table of options."),
        (b"a = " + b"[" * 100_000, "not TOML (nested too deeply)"),
        (b"[trim]\nx" + b".x" * (MAX_BYTES // 2 - 10) + b"=1", f"more than {MAX_DOTS} dots in line 2"),
    ],
)
def test_files_that_are_none(
    content: bytes, message: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_bytes(content)
    assert message in refused(capsys, tmp_path, "trim", "demo")
    assert invoke(capsys, "trim", "--help").code == 0, "help is there whatever the file says"


def test_where_it_lies(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_file() is None
    config.write_text("", encoding="utf-8")
    assert config_file() == config
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "polycompress.toml").write_text("[trim]\n", encoding="utf-8")
    assert config_file() is None, "a file of the working directory is nobody's configuration"
    monkeypatch.setenv("POLYCOMPRESS_CONFIG", str(config))
    assert config_file() == config


def test_a_file_that_is_named_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYCOMPRESS_CONFIG", str(tmp_path / "none"))
    message = refused(capsys, tmp_path, "trim", "demo")
    assert message == f"POLYCOMPRESS_CONFIG is {tmp_path}/none: there is no such file. Write it, or unset it."


def test_a_directory_in_its_place_is_a_fault(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.mkdir()
    message = refused(capsys, tmp_path, "trim", "demo")
    assert message == f"{config}: cannot be read (Is a directory). Mend or remove it."


def test_a_home_that_may_not_be_entered_is_none(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another user's home is left in the environment."""
    stat = os.stat

    def closed(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        if str(path) == str(config):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *rest, **named)

    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setattr(os, "lstat", closed)
    assert invoke(capsys, "languages", "de").code == 0


def test_a_file_of_an_editor_that_writes_a_mark_first(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[languages]\njson = true\n", encoding="utf-8-sig")
    assert invoke(capsys, "languages", "de").out.startswith("{")


def test_a_fault_that_nobody_typed_tells_where_it_was_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('[trim]\ncoverage = 2.5\nlangs = ["no-such"]\nsize = 3\n', encoding="utf-8")
    message = refused(capsys, tmp_path, "trim", "demo", "--langs", "de", "--dry-run")
    assert message.endswith(f"\n{config} says trim.coverage = '2.5', trim.size = '3'")
    config.write_text('[trim]\nlangs = ["no-such"]\nsize = 3\n', encoding="utf-8")
    message = refused(capsys, tmp_path, "trim", "demo", "--dry-run")
    assert message.endswith(f"\n{config} says trim.langs = ['no-such']")
    message = refused(capsys, tmp_path, "trim", tmp_path / "3", "--langs", "de", "--dry-run")
    assert str(config) not in message, "nothing of it is at fault"


def test_recipes_do_without_it(config: Path) -> None:
    """A recipe gives the same everywhere, so its stages take no defaults of the user's."""
    from polycompress.cli.recipe_commands import recipe_command

    config.write_text('[languages]\nfamily = "Romance"\n', encoding="utf-8")
    found = recipe_command("languages").call({}, [])
    assert "German" in {language["name"] for language in found["languages"]}
