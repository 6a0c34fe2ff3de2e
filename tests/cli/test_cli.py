"""The command line as a whole: help, streams, exit codes."""

from __future__ import annotations

import json
import os
import pty
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import polycompress
from polycompress.cli import main
from polycompress.errors import CertificateError, PolycompressError, StorageError
from polycompress.pipelines import trim as trim_module
from polycompress.pipelines.trimming import gathering
from polycompress.pipelines.trimming.request import DEFAULT_COVERAGE
from tests.command_line import PROGRAM, environment, invoke, shell
from tests.tiny_models import make_tiny

COMMANDS = (
    "bench",
    "bistil",
    "convert-tokenizer",
    "count",
    "demo-model",
    "distil",
    "eval",
    "export",
    "factorise",
    "finetune",
    "inspect",
    "languages",
    "mlm",
    "moe",
    "ofa",
    "plan",
    "push",
    "report",
    "run",
    "sft",
    "students",
    "tasks",
    "tokenizer",
    "trim",
    "ui",
    "vectors",
    "verify",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture(autouse=True)
def short_word_lists(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_every_command_is_tested_here() -> None:
    assert sorted(get_command(main.app).commands) == list(COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_runnable_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    help_text = invoke(capsys, command, "--help").out
    examples = [
        line.strip() for line in help_text.splitlines() if line.strip().startswith(f"polycompress {command} ")
    ]
    assert len(examples) >= 2
    parser = get_command(main.app).commands[command]  # type: ignore[attr-defined]
    for example in examples:
        parser.make_context(
            command, shlex.split(example)[2:]
        )  # raises where an option or argument is not known


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_is_cut_off_on_a_narrow_terminal(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = invoke(capsys, command, "-h")
    assert outcome.code == 0
    assert "…" not in outcome.out
    for parameter in get_command(main.app).commands[command].params:  # type: ignore[attr-defined]
        assert all(option in outcome.out for option in parameter.opts if option.startswith("--"))


def test_help_tells_the_default_that_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert f"[default: {DEFAULT_COVERAGE}]" in " ".join(
        invoke(capsys, "trim", "--help").out.replace("│", " ").split()
    )


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("trim", "--help")])
def test_help_is_fast(arguments: tuple[str, ...]) -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*PROGRAM, *arguments], env=environment(), check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_a_command_is_made_without_the_others() -> None:
    code = (
        "import sys; from polycompress.cli.main import run; run(['trim', '--help'])\n"
        "names = {name for names in sys.modules if (name := names.removeprefix('polycompress.cli.')) != names}\n"
        "print('made:', *sorted(names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True
    )
    made = done.stdout.rpartition("made: ")[2].split()
    assert "trim" in made
    assert not {"bistil_general", "mlm", "ofa", "vectors", "verify"} & set(made)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, "--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"polycompress {polycompress.__version__}\n", "")


@pytest.mark.parametrize("verbose", [(), ("--verbose",)])
def test_json_is_one_object_on_stdout(
    source: Path, tmp_path: Path, verbose: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    planned = invoke(capsys, *verbose, "trim", source, "--langs", "de", "--dry-run", "--json")
    assert json.loads(planned.out)["out"] is None
    done = invoke(capsys, *verbose, "trim", source, "--langs", "de", "--out", out, "--json")
    assert json.loads(done.out)["out"] == str(out)
    assert json.loads(done.out)["plan"] == json.loads(planned.out)["plan"]
    assert json.loads(done.out)["certificate"]["passed"] is True
    checked = invoke(capsys, *verbose, "verify", source, out, "--json")
    assert json.loads(checked.out)["certificate"]["passed"] is True
    seen = invoke(capsys, *verbose, "inspect", source, "--langs", "de", "--json")
    assert "deu-Latn" in json.loads(seen.out)["frontiers"]
    for outcome in (planned, done, checked, seen):
        assert outcome.code == 0
        assert outcome.out.startswith("{")
        assert not any(bar in outcome.err for bar in "━⠋")


def test_a_failure_leaves_stdout_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, "trim", tmp_path / "none", "--langs", "de", "--out", tmp_path / "out", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {tmp_path}/none: no such directory.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trim",), "Missing argument 'MODEL'"),
        (("trim", "demo"), "name some with --langs, or one model for each with --each"),
        (("trim", "demo", "--langs", "de", "--size", "many"), "Invalid value for '--size'"),
        (("trim", "demo", "--langs", "de", "--coverage", "0,9"), "Invalid value for '--coverage'"),
        (("trim", "demo", "--langs", "de", "--colour"), "No such option: --colour"),
        (("trim", "demo", "more", "--langs", "de"), "unexpected extra argument(s) (more)"),
        (("trim", "demo", "--langs"), "Option '--langs' requires an argument"),
        (("trm",), "No such command 'trm'. Did you mean 'trim'?"),
        (("--colour",), "No such option: --colour"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


def test_nothing_asked_for_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys)
    assert outcome.code == 2
    assert "Usage: polycompress" in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PolycompressError("what broke"), 1, "what broke"),
        (StorageError("no room"), 1, "no room"),
        (CertificateError("differs"), 1, "differs"),
        (OSError(5, "Input/output error", "/x"), 1, "[Errno 5] Input/output error: '/x'"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes(
    error: BaseException,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(trim_module, "trim", fail)
    outcome = invoke(capsys, "trim", "demo", "--langs", "de", "--dry-run", "--json")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"error: {message}")


def test_a_trimmed_model_that_differs_is_exit_code_1(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert invoke(capsys, "trim", source, "--langs", "de", "--out", out).code == 0
    weights = bytearray((out / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (out / "model.safetensors").write_bytes(weights)
    outcome = invoke(capsys, "verify", source, out, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["certificate"]["passed"] is False
    assert "does not behave as" in outcome.err
    assert "changed" in outcome.err


SHOWN = (
    "import sys; from polycompress.cli import console, main; console.QUIET_SECONDS = 0; "
    "sys.exit(main.run(sys.argv[1:]))"
)
ASCII = "PYTHONIOENCODING=ascii"
STRICT = "PYTHONIOENCODING=utf-8:strict"
TRIM = "polycompress trim $MODEL --langs de"


def test_bars_are_shown_on_a_terminal_and_taken_away(source: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-c",
        SHOWN,
        "trim",
        source,
        "--langs",
        "de",
        "--out",
        tmp_path / "out",
        "--json",
    ]
    variables = environment(POLYCOMPRESS_CACHE=str(tmp_path / "cache"), TERM="xterm", NO_COLOR="1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=variables) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:  # how a terminal says that the other end is closed
            pass
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["out"] == str(tmp_path / "out")
    os.close(ours)
    assert process.returncode == 0
    assert "counting German words" in shown.decode()
    assert "writing weights" in shown.decode()
    assert b"\x1b[2K" in shown, "bars are erased at the end"


@pytest.mark.parametrize("json_asked", ["", "--json"])
def test_a_full_stdout_is_named_and_the_model_is_there(source: Path, tmp_path: Path, json_asked: str) -> None:
    outcome = shell(f"{TRIM} --out out {json_asked} >/dev/full", tmp_path, {"MODEL": str(source)})
    assert (outcome.code, outcome.err) == (
        1,
        "error: stdout could not be written (No space left on device); files that the command made are whole\n",
    )
    assert (tmp_path / "out" / "polycompress.json").is_file()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (f"{TRIM} --out out --json >&-", 0),
        (f"{TRIM} --out out >&-", 0),
        (f"{TRIM} --out out 2>&- >/dev/null", 0),
        ("polycompress trim nothing --langs de --out out 2>&- >&-", 2),
        ("polycompress --help >&-", 0),
        (f"set -o pipefail; {TRIM} --out out | true", 141),
        ("set -o pipefail; polycompress inspect $MODEL --json | true", 141),
        ("set -o pipefail; polycompress languages | true", 141),
        ("set -o pipefail; polycompress trim --help | true", 141),
        ("set -o pipefail; polycompress --version | true", 141),
        ("polycompress inspect $MODEL --json >/dev/full", 1),
        ("polycompress trim nothing --langs de --out out 2>/dev/full", 2),
        ("polycompress trim nothing --langs de --out out 2> >(exec 0<&-)", 2),
        ("polycompress trim --colour 2>/dev/full", 2),
        ("polycompress trim --colour 2> >(exec 0<&-)", 2),
        (f"{ASCII} {TRIM} --out ö --json | grep -q '\"out\": \"\\\\u00f6\"'", 0),
        (f"PYTHONIOENCODING=latin-1 {TRIM} --out 東", 0),
        (f"{STRICT} {TRIM} --out $'o\\xff'", 0),
        ("PYTHONIOENCODING=ascii:surrogateescape polycompress languages uk", 0),
        (f"{STRICT} {TRIM} --out $'o\\xff' --json | grep -q 'o.udcff'", 0),
    ],
)  # fmt: skip
def test_streams_of_any_kind(source: Path, tmp_path: Path, script: str, code: int) -> None:
    outcome = shell(script, tmp_path, {"MODEL": str(source)})
    assert outcome.code == code, outcome
    assert "Exception ignored" not in outcome.err
    assert code != 141 or "error" not in outcome.err
    if "--out" in script and code != 2:
        (out,) = (path for path in tmp_path.iterdir())
        assert (out / "polycompress.json").is_file()


UNLUCKY = """
import os, sys, time
from polycompress.cli import main

class Unlucky:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000):
            pass  # where the signal's exception is raised

def app(**_):
    Unlucky()
    time.sleep(60)
    return 0

main.app = app
main.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_strikes_in_a_destructor_is_not_lost(number: int, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNLUCKY, str(int(number))],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Exception ignored" not in done.stderr
