"""What a run that ends at once leaves behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.training.devices import Devices
from polycompress.training.errors import NonFiniteLossError, SnapshotMismatchError
from polycompress.training.run_files import CONFIG, FINAL, SNAPSHOTS
from polycompress.training.runs import begun_run, begun_stages


def begin(
    out: Path, fault: Exception, *, resume: bool = False, work: Callable[[], None] | None = None
) -> None:
    """A run that begins, does something and fails."""
    with begun_run(out, {}, {"model": "a"}, Devices(device="cpu"), resume=resume) as snapshot:
        assert snapshot is None
        assert (out / CONFIG).is_file()
        (out / "data" / "training").mkdir(parents=True)
        (out / "data" / "training" / "ids.bin").write_bytes(b"ids")
        if work is not None:
            work()
        raise fault


def test_wrong_input_takes_back_what_was_begun(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "one"
    for _ in range(2):  # the second is not told that the directory exists
        with pytest.raises(InputError, match="no usable text"):
            begin(out, InputError("no usable text"))
        assert not (tmp_path / "runs").exists()


def test_the_run_that_begins_in_its_place_is_kept_from_others(tmp_path: Path) -> None:
    def others_are_kept_out() -> None:
        descriptor = os.open(tmp_path / "one", os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)

    for _ in range(2):
        with pytest.raises(InputError, match="no usable text"):
            begin(tmp_path / "one", InputError("no usable text"), work=others_are_kept_out)


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    out = tmp_path / "one"
    out.mkdir()
    (out / ".hidden").write_text("mine")
    with pytest.raises(InputError, match="no usable text"):
        begin(out, InputError("no usable text"))
    assert [path.name for path in out.iterdir()] == [".hidden"]


def test_a_run_that_is_taken_up_stays(tmp_path: Path) -> None:
    out = tmp_path / "one"
    with pytest.raises(NonFiniteLossError):
        begin(out, NonFiniteLossError("nan"))
    assert (out / CONFIG).is_file()
    (out / "data" / "training" / "ids.bin").unlink()
    (out / "data" / "training").rmdir()
    (out / "data").rmdir()
    with pytest.raises(InputError, match="no usable text"):
        begin(out, InputError("no usable text"), resume=True)
    assert (out / CONFIG).is_file()


def test_what_was_saved_stays(tmp_path: Path) -> None:
    out = tmp_path / "one"
    with pytest.raises(InputError, match="wrong later"):
        begin(out, InputError("wrong later"), work=(out / SNAPSHOTS).mkdir)
    assert (out / SNAPSHOTS).is_dir()
    assert (out / CONFIG).is_file()


def test_a_run_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "one"
    with pytest.raises(NonFiniteLossError):
        begin(out, NonFiniteLossError("nan"))
    with pytest.raises(InputError, match="already exists"):
        begin(out, InputError("never raised"))
    assert (out / CONFIG).is_file()


def begin_stages(out: Path, fault: Exception, *, resume: bool = False, saved: str = "") -> None:
    """A run of stages that begins, perhaps saves something of one, and fails."""
    with begun_stages(out, {}, {"model": "a"}, Devices(device="cpu"), resume=resume):
        assert (out / CONFIG).is_file()
        (out / "start").mkdir(exist_ok=True)
        if saved:
            (out / "stages" / "1-a" / saved).mkdir(parents=True)
        raise fault


def test_wrong_input_takes_back_a_run_of_stages(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="no usable text"):
            begin_stages(tmp_path / "runs" / "one", InputError("no usable text"))
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("saved", [SNAPSHOTS, FINAL])
def test_what_was_saved_of_a_stage_stays(tmp_path: Path, saved: str) -> None:
    out = tmp_path / "one"
    with pytest.raises(InputError, match="wrong later"):
        begin_stages(out, InputError("wrong later"), saved=saved)
    assert (out / "stages" / "1-a" / saved).is_dir()
    assert (out / CONFIG).is_file()


def test_a_run_of_stages_that_is_taken_up_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "one"
    with pytest.raises(NonFiniteLossError):
        begin_stages(out, NonFiniteLossError("nan"))
    with pytest.raises(InputError, match="no usable text"):
        begin_stages(out, InputError("no usable text"), resume=True)
    assert (out / CONFIG).is_file()
    assert caplog.messages == []
    with (
        pytest.raises(SnapshotMismatchError, match="model: 'a' there, 'b' now"),
        begun_stages(out, {}, {"model": "b"}, Devices(device="cpu"), resume=True),
    ):
        raise AssertionError


def test_a_run_of_stages_keeps_others_out_while_it_lasts(tmp_path: Path) -> None:
    out = tmp_path / "one"
    for resume in (False, True):
        with begun_stages(out, {}, {"model": "a"}, Devices(device="cpu"), resume=resume):
            descriptor = os.open(out, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
