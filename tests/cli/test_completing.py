"""What a shell completes, and how it learns to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from polycompress.cli.completing import complete_languages, complete_tasks
from polycompress.evaluation.tasks import all_tasks
from polycompress.languages import all_languages, find_language
from tests.command_line import PROGRAM, environment


def completed(typed: str) -> list[str]:
    """What bash is offered at the end of what was typed."""
    variables = environment(
        _POLYCOMPRESS_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split(" ")) - 1)
    )
    done = subprocess.run(PROGRAM, env=variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("polycompress tr", {"trim"}),
        ("polycompress bistil ", {"general", "task"}),
        ("polycompress ofa ", {"export"}),
        ("polycompress ofa --te", {"--temperature"}),
        ("polycompress ofa demo --te", {"--temperature"}),
        ("polycompress ofa export --de", {"--dense"}),
        ("polycompress ofa --hel", {"--help"}),
        ("polycompress trim --co", {"--corpus", "--counts", "--coverage"}),
        ("polycompress trim --qu", {"--quiet"}),
        ("polycompress trim demo --langs sw,de", {"sw,de"}),
        ("polycompress finetune demo --task ner-", {"ner-masakhaner", "ner-uner", "ner-wikiann"}),
        ("polycompress trim demo --out ", set()),
    ],
)
def test_bash_is_offered(typed: str, offered: set[str]) -> None:
    assert set(completed(typed)) == offered


def test_completion_reads_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYCOMPRESS_CONFIG", str(tmp_path / "none"))
    log = tmp_path / "log"
    assert completed(f"polycompress trim --log-file {log} --dry") == ["--dry-run"]
    assert not log.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_how(shell: str) -> None:
    done = subprocess.run(
        PROGRAM,
        env=environment(_POLYCOMPRESS_COMPLETE=f"source_{shell}"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_POLYCOMPRESS_COMPLETE=complete_" in done.stdout


def test_every_code_that_is_offered_means_its_language() -> None:
    offered = list(complete_languages(""))
    assert len(offered) == len(all_languages())
    assert all(find_language(code).name == name for code, name in offered)


def test_tasks_are_those_that_come_along() -> None:
    assert set(complete_tasks("")) == {task.id for task in all_tasks()}
