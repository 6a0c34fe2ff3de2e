"""Check a release before it is one: what is built, whether an index would take it, and whether it works elsewhere.

``python release/check.py`` builds wheel and sdist of this checkout, lets twine look at both, installs the wheel in an
environment of its own outside of the checkout, and uses it there. Nothing is uploaded. It ends with 1 at the first
fault.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HELP_SECONDS: Final = 0.5
"""Of processor time that ``polycompress --help`` may take, the median of five."""
_DATA: Final = ("languages", "eval")
_CLEAN: Final = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "POLYCOMPRESS_"))
}

MODEL: Final = """
import json, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

out = Path(sys.argv[1])
out.mkdir(parents=True)
words = ["<s>", "<pad>", "</s>", "<unk>", *("\u2581" + word for word in "der die und ich the and of to".split())]
letters = [*"abcdefghijklmnopqrstuvwxyzäöüß\u2581"]
pieces = [(piece, 0.0 if number < 4 else -float(number)) for number, piece in enumerate(words + letters)]
tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.add_special_tokens(words[:4])
tokenizer.save(str(out / "tokenizer.json"))
config = {"model_type": "xlm-roberta", "vocab_size": len(pieces), "hidden_size": 4}
config |= {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
(out / "config.json").write_text(json.dumps(config), encoding="utf-8")
special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
(out / "tokenizer_config.json").write_text(json.dumps(special), encoding="utf-8")
table = np.random.default_rng(0).standard_normal((len(pieces), 4)).astype(np.float32)
save_file({"embeddings.word_embeddings.weight": table}, out / "model.safetensors")
"""
"""A program that writes a model of a few hundred numbers, with what the default install has."""


def main() -> int:
    """Check everything, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="a directory that keeps wheel and sdist")
    parser.add_argument(
        "--no-isolation", action="store_true", help="build with the hatchling that is installed here"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polycompress-release-") as scratch:
        room = Path(scratch)
        dist = asked.keep or room / "dist"
        isolation = ["--no-isolation"] if asked.no_isolation else []
        wheel, sdist = build(ROOT, dist, isolation)
        same_wheel(sdist, wheel, room / "again", isolation)
        look_inside(wheel, sdist)
        run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)], ROOT)
        say("twine check --strict", "passed")
        use(wheel, room)
    return 0


def build(source: Path, dist: Path, isolation: Sequence[str]) -> tuple[Path, Path]:
    """Wheel and sdist, each of the source itself."""
    run(
        [sys.executable, "-m", "build", "--wheel", "--sdist", *isolation, "--outdir", str(dist), str(source)],
        source,
    )
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    say(
        "built",
        f"{wheel.name} ({wheel.stat().st_size:,} bytes), {sdist.name} ({sdist.stat().st_size:,} bytes)",
    )
    return wheel, sdist


def same_wheel(sdist: Path, wheel: Path, room: Path, isolation: Sequence[str]) -> None:
    """The sdist builds the same wheel, byte for byte."""
    with tarfile.open(sdist) as archive:
        archive.extractall(room, filter="data")
    (source,) = room.iterdir()
    again, _ = build(source, room / "dist", isolation)
    if again.read_bytes() != wheel.read_bytes():
        raise SystemExit(f"the sdist builds another wheel: {', '.join(differing(again, wheel))}")
    say("wheel of the sdist", "the same, byte for byte")


def differing(one: Path, other: Path) -> list[str]:
    """Names of what differs in two wheels."""
    contents = []
    for path in (one, other):
        with zipfile.ZipFile(path) as archive:
            contents.append({each.filename: each.CRC for each in archive.infolist()})
    first, second = contents
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name)) or [
        "metadata"
    ]


def look_inside(wheel: Path, sdist: Path) -> None:
    """The wheel holds the package and all its data and nothing else; the sdist what it takes to test it."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = run(["git", "ls-files", "polycompress", *_DATA], ROOT).stdout.splitlines()
    wanted = {f"polycompress/_data/{name}" if name.startswith(_DATA) else name for name in tracked}
    if lost := sorted(wanted - inside):
        raise SystemExit(f"the wheel lacks {len(lost)} files, such as {lost[0]}")
    if alien := sorted(name for name in inside - wanted if ".dist-info/" not in name):
        raise SystemExit(
            f"the wheel holds {len(alien)} files that the repository does not, such as {alien[0]}"
        )
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    if missing := {"polycompress", "tests", "docs", "LICENSE", "README.md", "CHANGELOG.md", *_DATA} - tops:
        raise SystemExit(f"the sdist lacks {', '.join(sorted(missing))}")
    say("files", f"{len(wanted):,} in the wheel, all of the repository's; no docs, no tests")


def use(wheel: Path, room: Path) -> None:
    """Install the wheel in an environment of its own, and use it outside of the checkout."""
    run([sys.executable, "-m", "venv", str(room / "env")], room)
    python, program = room / "env" / "bin" / "python", room / "env" / "bin" / "polycompress"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], room)
    say("installed", run([str(program), "--version"], room).stdout.strip())
    seconds = statistics.median(processor_seconds([str(program), "--help"], room) for _ in range(5))
    say("polycompress --help", f"{seconds:.2f} s of processor time, median of 5 (at most {HELP_SECONDS})")
    if seconds > HELP_SECONDS:
        raise SystemExit("the help takes too long")
    found = json.loads(run([str(program), "languages", "--json"], room).stdout)["languages"]
    say("polycompress languages", f"{len(found)} rows")
    run([str(python), "-c", MODEL, str(room / "model")], room)
    small = [str(program), "trim", "model", "--langs", "de", "--out", "small", "--json"]
    done = json.loads(run(small, room).stdout)
    if not done["certificate"]["passed"] or not done["plan"]["kept"]:
        raise SystemExit("trimming gave no certificate")
    run([str(program), "verify", "model", "small", "--quiet"], room)
    say("polycompress trim, verify", f"{done['plan']['kept']} tokens kept, certificate passed")


def processor_seconds(command: Sequence[str], room: Path) -> float:
    """Of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(command, room)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(command: Sequence[str], room: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory, without the settings of whoever checks.

    Raises:
        SystemExit: It failed; what it said is shown.
    """
    own = os.environ if command[0] == sys.executable else _CLEAN
    done = subprocess.run(command, cwd=room, env=dict(own), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command[:6])} ... ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def say(what: str, how: str) -> None:
    """A line of the report."""
    print(f"{what}: {how}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
