from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polycompress.errors import InputError, StorageError
from polycompress.modeldir import atomic, leftovers
from polycompress.modeldir.atomic import atomic_directory, atomic_file, check_output, scratch_directory
from polycompress.modeldir.leftovers import sweep, working_name

REPOSITORY = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def model(path: Path, text: str = "old") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(text)
    return path


def build(out: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with atomic_directory(out, overwrite=overwrite) as work:
        assert work.parent == out.parent
        (work / "config.json").write_text(text)
        (work / "sub").mkdir()
        (work / "sub" / "file").write_text(text)


# Appearing whole, or not at all


def test_the_directory_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_directory(out) as work:
        (work / "config.json").write_text("new")
        assert not out.exists()
        assert work.name.startswith(".out.polycompress-")
    assert (out / "config.json").read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(143)])
def test_any_exception_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), atomic_directory(tmp_path / "a" / "b" / "out") as work:
        (work / "config.json").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_missing_directories_above_are_made(tmp_path: Path) -> None:
    build(tmp_path / "a" / "b" / "out")
    assert (tmp_path / "a" / "b" / "out" / "sub" / "file").read_text() == "new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    build(tmp_path / "out")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("kind", ["directory", "empty", "file", "link"])
def test_an_existing_output_is_refused_before_any_work(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "directory":
        model(out)
    elif kind == "empty":
        out.mkdir()
    elif kind == "file":
        out.write_text("x")
    else:
        out.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"out: already exists. Choose another output, or pass --overwrite"):
        build(out)
    assert names(tmp_path) == ["out"]


def test_an_output_made_by_someone_else_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="was made by someone else meanwhile"), atomic_directory(out):
        model(out, "theirs")
    assert (out / "config.json").read_text() == "theirs"
    assert names(tmp_path) == ["out"]


def test_names_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="longer than 180 bytes"):
        check_output(tmp_path / ("ä" * 91))
    with pytest.raises(InputError, match="cannot be an output directory"):
        check_output(Path("/"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"'.*file' is not a directory"):
        check_output(tmp_path / "file" / "out")
    build(tmp_path / ("ä" * 90))


# Overwriting


def test_overwrite_replaces_a_model(tmp_path: Path) -> None:
    out = model(tmp_path / "out")
    build(out, overwrite=True)
    assert (out / "config.json").read_text() == "new"
    assert names(tmp_path) == ["out"]
    build(tmp_path / "fresh", overwrite=True)
    (tmp_path / "empty").mkdir()
    build(tmp_path / "empty", overwrite=True)


def test_a_failure_keeps_the_old_model(tmp_path: Path) -> None:
    out = model(tmp_path / "out")
    with pytest.raises(RuntimeError), atomic_directory(out, overwrite=True) as work:
        (work / "config.json").write_text("new")
        raise RuntimeError
    assert (out / "config.json").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_without_an_exchange_the_old_model_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_rename", lambda *_: False)
    out = model(tmp_path / "out")
    build(out, overwrite=True)
    assert (out / "config.json").read_text() == "new"
    build(tmp_path / "other")
    assert names(tmp_path) == ["other", "out"]
    with pytest.raises(InputError, match="was made by someone else"), atomic_directory(tmp_path / "third"):
        model(tmp_path / "third")


def test_a_failed_move_puts_the_old_model_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_rename", lambda *_: False)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if not self.name.endswith(".old") and self.name.startswith(".out."):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    out = model(tmp_path / "out")
    with pytest.raises(StorageError, match="the disk reports an error"):
        build(out, overwrite=True)
    assert (out / "config.json").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_overwrite_replaces_models_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").touch()
    model(tmp_path / "project")
    (tmp_path / "project" / ".git").mkdir()
    model(tmp_path / "target")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "file").touch()
    model(tmp_path / "home" / "me")
    (tmp_path / "home" / "config.json").touch()
    model(tmp_path / "work" / "here")
    (tmp_path / "work" / "config.json").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    monkeypatch.chdir(tmp_path / "work" / "here")
    for name, message in {
        "papers": "does not look like a model directory",
        "project": "does not look like a model directory",
        "link": "is a link",
        "file": "is a file",
        "home": "is your home or lies above it",
        "home/me": "is your home or lies above it",
        "work": "is the working directory or lies above it",
        "work/here": "is the working directory or lies above it",
    }.items():
        with pytest.raises(InputError, match=message):
            build(tmp_path / name, overwrite=True)
    with pytest.raises(InputError, match="is the working directory"):
        build(Path(), overwrite=True)
    assert (tmp_path / "papers" / "thesis.tex").exists()


# A disk that refuses


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full. Free space there"),
        (errno.EDQUOT, "your quota on this disk is used up"),
        (errno.EFBIG, "would exceed the file-size limit"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_what_the_disk_refuses_is_a_storage_error(tmp_path: Path, code: int, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught, atomic_directory(tmp_path / "out") as work:
        (work / "half").write_text("x")
        raise OSError(code, os.strerror(code), str(work / "half"))
    assert f"{tmp_path / 'out'}: could not be written" in str(caught.value)
    assert "Nothing was left behind" in str(caught.value)
    assert caught.value.exit_code == 1
    assert names(tmp_path) == []


def test_a_full_disk_while_syncing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        build(tmp_path / "deep" / "out")
    with pytest.raises(StorageError, match="the disk is full"), atomic_file(tmp_path / "file") as file:
        file.write(b"x")
    assert names(tmp_path) == []


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), atomic_directory(tmp_path / "out"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    with pytest.raises(StorageError, match="mine"), atomic_directory(tmp_path / "out"):
        raise StorageError("mine")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_where_we_may_not_write(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="permission denied"):
        build(tmp_path / "locked" / "out")


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    lines = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom polycompress.modeldir import atomic\n"
        + code
    )
    return subprocess.Popen(
        [sys.executable, "-c", lines, *map(str, arguments)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_file_size_limit_is_a_storage_error(tmp_path: Path) -> None:
    process = run(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with atomic.atomic_directory(Path(sys.argv[1])) as work:\n"
        "    (work / 'big').write_bytes(bytes(2000))\n",
        tmp_path / "out",
    )
    _, errors = process.communicate(timeout=60)
    assert "StorageError" in errors
    assert "would exceed the file-size limit" in errors
    assert names(tmp_path) == []


# Killed


HALF_WAY = (
    "with atomic.atomic_directory(Path(sys.argv[1]), overwrite=True) as work:\n"
    "    (work / 'config.json').write_text('new')\n"
    "    print(work, flush=True)\n"
    "    time.sleep(60)\n"
)


def test_what_a_killed_run_left_is_swept_by_the_next(tmp_path: Path) -> None:
    process = run(HALF_WAY, tmp_path / "out")
    assert process.stdout is not None
    work = Path(process.stdout.readline().strip())
    sweep(tmp_path)
    assert work.exists(), "a running process's work was swept"
    process.kill()
    process.communicate(timeout=60)
    assert names(tmp_path) == [work.name]
    build(tmp_path / "other")
    assert names(tmp_path) == ["other"]


def test_sigterm_with_a_handler_leaves_nothing(tmp_path: Path) -> None:
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    process = run(handler + HALF_WAY, tmp_path / "sub" / "out")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert names(tmp_path) == []


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("moment", range(1, 12))
def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, moment: int, exchange: bool) -> None:
    """Die at the n-th rename, sync or removal of the last phase, whichever comes; then run again."""
    out = model(tmp_path / "out")
    code = (
        "left = int(sys.argv[2])\n"
        "def dying(call):\n"
        "    def die(*a, **k):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return call(*a, **k)\n"
        "    return die\n"
        + ("" if exchange else "atomic._rename = lambda *_: False\n")
        + "with atomic.atomic_directory(Path(sys.argv[1]), overwrite=True) as work:\n"
        "    (work / 'config.json').write_text('new')\n"
        "    (work / 'part').write_text('new')\n"
        "    Path.rename, os.fsync, os.unlink, os.rmdir = map(dying, (Path.rename, os.fsync, os.unlink, os.rmdir))\n"
        "    atomic._rename = dying(atomic._rename)\n"
    )
    process = run(code, out, moment)
    process.communicate(timeout=60)
    sweep(tmp_path)
    assert names(tmp_path) == ["out"]
    text = (out / "config.json").read_text()
    assert names(out) == {"old": ["config.json"], "new": ["config.json", "part"]}[text]
    assert process.returncode == (-9 if moment <= (7 if exchange else 9) else 0)


def test_an_output_put_aside_by_a_dead_process_is_put_back(tmp_path: Path) -> None:
    dead = working_name("out").replace(f"-{os.getpid()}-", "-999999999-")
    model(tmp_path / f"{dead}.old")
    model(tmp_path / dead, "half")
    sweep(tmp_path)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "config.json").read_text() == "old"


def test_a_process_number_used_again_is_not_taken_for_the_dead(tmp_path: Path) -> None:
    mine = working_name("out")
    machine, pid, start, _ = mine.split("polycompress-")[1].split("-")
    (tmp_path / mine).mkdir()
    (tmp_path / f".out.polycompress-{machine}-{pid}-{int(start) + 1}-00000000").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == [mine]


def test_work_of_another_machine_is_swept_when_old_and_unlocked(tmp_path: Path) -> None:
    def foreign(number: int, age_s: float) -> Path:
        path = tmp_path / f".out.polycompress-ffffffff-1-1-0000000{number}"
        path.mkdir()
        os.utime(path, (time.time() - age_s, time.time() - age_s))
        return path

    fresh, old, held = foreign(1, 60), foreign(2, 7200), foreign(3, 7200)
    lock = leftovers.hold(held)
    assert lock is not None
    sweep(tmp_path)
    os.close(lock)
    assert names(tmp_path) == [fresh.name, held.name]
    assert not old.exists()


def test_nothing_else_is_swept(tmp_path: Path) -> None:
    kept = [
        ".out.polycompress-x",
        "out.polycompress-ffffffff-1-1-00000000",
        ".polycompress-1-2-3-4",
        ".cache",
    ]
    for name in kept:
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)
    sweep(tmp_path / "absent")


def test_sweeping_does_not_go_through_links(tmp_path: Path) -> None:
    precious = model(tmp_path / "precious")
    dead = working_name("out").replace(f"-{os.getpid()}-", "-999999999-")
    (tmp_path / dead).symlink_to(precious)
    sweep(tmp_path)
    assert names(tmp_path) == ["precious"]
    assert (precious / "config.json").exists()


# Files


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a") as file:
        file.write(b"abc")
        assert not (tmp_path / "a").exists()
    with atomic_file(tmp_path / "b", "w") as text:
        text.write("ä\n")
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert (tmp_path / "b").read_bytes() == "ä\n".encode()
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_failed_file_keeps_the_old_one(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a", mode) as file:  # type: ignore[call-overload]
        file.write("x" if mode == "w" else b"x")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_file_behind_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_file(tmp_path / "link", "w") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_places_for_no_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(InputError, match="is not a regular file"), atomic_file(path):
            pass
    with pytest.raises(InputError, match="there is no directory"), atomic_file(tmp_path / "absent" / "a"):
        pass


def test_an_output_never_replaces_the_model_it_is_made_from(tmp_path: Path) -> None:
    source = tmp_path / "a" / "model"
    source.mkdir(parents=True)
    (tmp_path / "link").symlink_to(source)
    for out in (source, tmp_path / "a", tmp_path / "link", source / ".." / "model"):
        with pytest.raises(InputError, match=f"{out}: is or holds the model it is to be made from"):
            atomic.check_apart(out, source)
    for out in (source / "inside", tmp_path / "a" / "model2", tmp_path / "b"):
        atomic.check_apart(out, source)


# What is only needed on the way


def test_scratch_lies_beside_the_output_and_goes(tmp_path: Path) -> None:
    out = model(tmp_path / "out")
    with scratch_directory(out) as scratch:
        assert scratch.parent == tmp_path and scratch.name.startswith(".out.polycompress-")
        build(scratch / "part")
        build(out, overwrite=True)  # whose sweep leaves the scratch of a living process alone
        assert (scratch / "part" / "config.json").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_scratch_goes_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_directory(tmp_path / "out") as scratch:
        build(scratch / "part")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_scratch_makes_no_directories_above(tmp_path: Path) -> None:
    with scratch_directory(tmp_path / "a" / "b" / "out") as scratch:
        assert scratch.parent == tmp_path and scratch.name.startswith(".a.polycompress-")
        build(tmp_path / "a" / "b" / "out")
    assert names(tmp_path) == ["a"]
