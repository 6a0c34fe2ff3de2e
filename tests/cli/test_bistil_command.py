"""``polycompress bistil general`` and ``task``: what they print, and how they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from polycompress.cli.bistil_general import parse_layers
from polycompress.errors import InputError
from tests.command_line import invoke, refused
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import write_corpora
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("table")
    make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
    make_pack(root / "data")
    write_corpora(root, {"en": 20, "sw": 20})
    return root


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def general(table: Path, *more: str) -> list[str]:
    return [
        "bistil", "general", str(table / "teacher"), "--source", "en", "--target", "sw", "--corpus",
        f"en={table}/en.txt", "--corpus", f"sw={table}/sw.txt", "--layers", "2", "--steps", "2", "--max-length", "48",
        "--batch-tokens", "200", "--device", "cpu", "--out", str(table / "student"), *more,
    ]  # fmt: skip


def task(table: Path, *more: str) -> list[str]:
    return [
        "bistil", "task", str(table / "student"), "--teacher", str(table / "teacher"), "--task", "sib200", "--data",
        str(table / "data"), "--steps", "2", "--precision", "fp32", "--device", "cpu", "--out", str(table / "topics"),
        *more,
    ]  # fmt: skip


def test_a_student_learns_on_text_and_then_a_task(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *general(table, "--held-out", f"sw={table}/sw.txt"))
    assert done.code == 0, done.err
    assert re.search(r"layers of the teacher +1, 3\s", done.out)
    for fact in ("parameters", "vocabulary", "tokens of swh-Latn", "loss on held-out text"):
        assert fact in done.out
    assert f"written to {table / 'student' / 'final'}" in done.out
    learnt = invoke(capsys, *task(table, "--json"))
    assert learnt.code == 0, learnt.err
    found = json.loads(learnt.out)
    assert found["finetuning"]["train_languages"] == ["eng-Latn"]
    again = invoke(capsys, *task(table, "--resume"))
    assert "nothing is left to do" in again.err
    assert f"{found['sparse']['weights']:,} of {found['sparse']['of']:,}, and the head" in again.out
    assert f"what was changed, to {table / 'topics' / 'task.diff'}" in again.out


def test_a_student_that_is_there(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alien = make_tiny("bert", "base", table / "alien", vocab_size=250, num_hidden_layers=2)
    given = [*general(table, "--student", str(alien)), "--out", str(table / "given")]
    place = given.index("--layers")
    done = invoke(capsys, *given[:place], *given[place + 2 :])
    assert done.code == 0, done.err
    assert re.search(r"began as +alien\s", done.out)
    assert re.search(r"left out +attention, masking: its tokenizer is not the teacher's", done.out)
    assert re.search(
        r"compared in swh-Latn +\d+\.\d% of the student's tokens, \d+\.\d% of the teacher's", done.out
    )
    assert "hidden states are compared word by word" in " ".join(done.err.split())
    wrong = refused(capsys, table, *given, "--out", str(table / "wrong"))
    assert "shape.layers is for a student that is made, but there is one already: leave it out" in wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer-map", "1,x"], "--layer-map '1,x': write layers of the teacher, such as 1,3,5"),
        (
            ["--target", "de"],
            "'sw={}/sw.txt' is Swahili (swh-Latn), which was not asked for: add it to --source or",
        ),
        (
            ["--language-sft", "sw=none.diff"],
            "there is no such file. Check the name, or make one with: polycompress",
        ),
        (
            ["--attention", "map"],
            "attention is 'map': give maps, scores, relations or none. Did you mean maps?",
        ),
    ],
)
def test_wrong_requests(
    table: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    wrong = general(table, *options, "--out", str(table / "wrong"))
    assert message.replace("{}", str(table)) in refused(capsys, table, *wrong)


def test_relation_heads_of_a_task_can_be_chosen(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve divide neither the widths of tiny models nor those of large ones, of 1,024 units."""
    given = [
        *task(table, "--attention", "relations", "--train-langs", "en"),
        "--out",
        str(table / "relations"),
    ]
    given[2] = str(table / "teacher")
    wrong = refused(capsys, table, *given)
    assert "12 relation heads do not divide all widths: " in wrong
    assert "give one of 1, 2, 4, 8, 16 (--relation-heads" in wrong
    assert "relation_heads is 0: give at least 1" in refused(capsys, table, *given, "--relation-heads", "0")
    done = invoke(capsys, *given, "--relation-heads", "4")
    assert done.code == 0, done.err


def test_layers() -> None:
    assert parse_layers("1, 3,5") == (1, 3, 5)
    assert parse_layers("") == ()
    with pytest.raises(InputError, match="--layer-map '1;2'"):
        parse_layers("1;2")
