from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError, MissingExtraError, StorageError
from polycompress.training.metrics import JsonLines, Sinks, TensorBoard, Told, read_metrics


def written(path: Path, *steps: int, after: int = 0) -> None:
    log = JsonLines(path, after_step=after)
    for step in steps:
        log.log({"step": step, "loss": 1.5 * step})
    log.close()


def steps(path: Path) -> list[int]:
    return [record["step"] for record in read_metrics(path)]


def test_a_line_for_each_record(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, 1, 2)
    assert read_metrics(path) == [{"step": 1, "loss": 1.5}, {"step": 2, "loss": 3.0}]


def test_a_line_is_there_before_the_next_step(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "m")
    log.log({"step": 1})
    assert (tmp_path / "m").read_text() == '{"step": 1}\n'
    log.close()


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "m")
    log.log({"step": 1, "loss": float("nan"), "by": {"de": float("inf")}})
    log.close()
    assert read_metrics(tmp_path / "m") == [{"step": 1, "loss": None, "by": {"de": None}}]


def test_going_on_drops_what_will_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "m"
    written(path, 5, 10, 15, 20)
    written(path, 15, 20, after=10)
    assert steps(path) == [5, 10, 15, 20]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m"
    written(path, 5, 10)
    with path.open("a") as file:
        file.write('{"step": 15, "los')
    with caplog.at_level(logging.WARNING):
        assert steps(path) == [5, 10]
    assert "line 3 is no whole record and is left out" in caplog.text
    written(path, 15, after=10)
    assert path.read_text().count("\n") == 3
    assert steps(path) == [5, 10, 15]


@pytest.mark.parametrize("line", ["null", "[1]", '{"step": true}', '{"loss": 1}', "[" * 100_000, "\x00"])
def test_lines_that_are_no_records(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m"
    path.write_text(line + '\n{"step": 2}\n')
    assert steps(path)[-1:] == [2]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m: no such file. A run writes it beside its config.json"):
        read_metrics(tmp_path / "m")


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        JsonLines(tmp_path / "nowhere" / "m")
    full = Path("/dev/full")
    if full.exists():
        log = JsonLines(tmp_path / "m")
        log.close()
        log._file = full.open("w")
        with pytest.raises(StorageError, match="the disk is full"):
            log.log({"step": 1})
        log.close()


def test_several_sinks_as_one(tmp_path: Path) -> None:
    seen: list[Any] = []
    sinks = Sinks([JsonLines(tmp_path / "m"), Told(seen.append)])
    sinks.log({"step": 3})
    sinks.close()
    assert seen == [{"step": 3}]
    assert steps(tmp_path / "m") == [3]


def test_tensorboard_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polycompress\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard", reason="the extra tensorboard is not installed")
    board = TensorBoard(tmp_path)
    board.log({"step": 4, "loss": 0.5, "language_tokens": {"deu-Latn": 7}, "name": "x"})
    board.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["language_tokens/deu-Latn", "loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(4, 0.5)]


def test_nothing_but_json_is_written(tmp_path: Path) -> None:
    path = tmp_path / "m"
    written(path, 1)
    assert json.loads(path.read_text()) == {"step": 1, "loss": 1.5}
