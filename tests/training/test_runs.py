"""What a run that ends at once leaves behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.training.devices import Devices
from polycompress.training.errors import NonFiniteLossError
from polycompress.training.run_files import CONFIG, SNAPSHOTS
from polycompress.training.runs import begun_run


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
