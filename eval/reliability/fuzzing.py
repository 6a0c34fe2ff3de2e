"""Damaged inputs, one case after another: what is drawn, how it is run, and what is wrong with how it ended."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eval.reliability.judging import PATIENCE, faults_of
from eval.reliability.subjects import KINDS, SUBJECTS, Subject
from eval.reliability.text_mutations import damage_code
from eval.reliability.warm import LIGHT, TORCH, Ending, Warm
from eval.reliability.watching import changes, snapshot

CODES: Final = (
    "de",
    "deu",
    "deu_Latn",
    "srp-Cyrl",
    "German",
    "Deutsch",
    "zh",
    "swh",
    "Türkçe",
    "Romance",
    "xlmr",
)
_DESK: Final = ("out", "out.html", "out.npz", "out.npz.parts")
"""What a command was told to write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One damaged input and the command that reads it."""

    number: int
    subject: Subject
    command: tuple[str, ...]
    damage: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a case ended and what is wrong with that; nothing where ``faults`` is empty."""

    case: Case
    ending: Ending
    faults: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Done, refused, failed, out of memory or faulty."""
        if self.faults:
            return "faulty"
        if self.ending.code == 1:
            return "out of memory" if "out of memory" in self.ending.output else "failed"
        return "done" if self.ending.code == 0 else "refused"


@dataclass(slots=True)
class Bench:
    """Where cases are run.

    Attributes:
        stock: The larder's directory.
        room: A directory for each case in turn.
        seed: Of all draws.
        keep: Directory that gets what faulty cases read, if anything shall be kept.
    """

    stock: Path
    room: Path
    seed: int
    keep: Path | None = None
    _warm: dict[bool, Warm] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Bench:
        self.room.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._warm.clear()

    def run(self, number: int, subjects: Sequence[Subject] = SUBJECTS) -> Outcome:
        """Draw a case, run it and judge how it ended."""
        place = self.room / "far" / "case"
        shutil.rmtree(place, ignore_errors=True)
        case = draw(random.Random(f"{self.seed}:{number}"), number, subjects, self.stock, place / "in")
        for name in ("desk", "home", "cache", "tmp"):
            (place / name).mkdir(exist_ok=True)
        variables = {
            "HOME": str(place / "home"), "XDG_CACHE_HOME": str(place / "home" / ".cache"), "TMPDIR": str(place / "tmp"),
            "POLYCOMPRESS_CACHE": str(place / "cache"), "COLUMNS": "100",
        }  # fmt: skip
        desk, stock = (place.relative_to(self.room) / name for name in ("desk", "in"))
        allowed = (
            *(f"{desk}/{name}" for name in _DESK),
            *(f"{stock}/{name}" for name in case.subject.writes),
            str(place.relative_to(self.room) / "cache"),
        )
        before = snapshot(self.room, but=allowed)
        ending = self._process(torch=case.subject.torch).run(
            case.command, cwd=place / "desk", seconds=PATIENCE, variables=variables
        )
        strays = changes(before, snapshot(self.room, but=allowed))
        outcome = Outcome(case=case, ending=ending, faults=(*faults_of(ending, place / "desk"), *strays))
        if outcome.faults and self.keep is not None:
            shutil.copytree(place, self.keep / str(number), symlinks=True, dirs_exist_ok=True)
            (self.keep / str(number) / "printed.txt").write_text(
                ending.output, encoding="utf-8", errors="replace"
            )
        return outcome

    def _process(self, *, torch: bool) -> Warm:
        if torch not in self._warm:
            variables = {
                "OMP_NUM_THREADS": "1",
                "RAYON_NUM_THREADS": "2",
                "HF_HUB_OFFLINE": "1",
                "RUST_BACKTRACE": "0",
            }
            warm = Warm(self.room.parent / f"printed-{torch:d}", TORCH if torch else LIGHT, variables)
            self._warm[torch] = self._stack.enter_context(warm)
        return self._warm[torch]


def draw(chance: random.Random, number: int, subjects: Sequence[Subject], stock: Path, place: Path) -> Case:
    """Choose a subject, copy what it needs and damage a file of it, or two.

    Args:
        chance: The case's own generator.
        number: Of the case.
        subjects: To choose from.
        stock: The larder's directory.
        place: Directory that gets the copy.
    """
    subject = chance.choices(subjects, [each.share for each in subjects])[0]
    for name in subject.needs:
        source, target = stock / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    command = chance.choice(subject.commands)
    if subject.codes:
        code = damage_code(chance, chance.choice(CODES))
        command = tuple(code if each == "{code}" else each for each in command)
        return Case(number=number, subject=subject, command=command, damage=())
    damage = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        file = chance.choice(subject.files)
        mutation = chance.choice(KINDS[Path(file).suffix])
        done, content = mutation(chance, (place / file).read_bytes())
        (place / file).write_bytes(content)
        damage.append(f"{file}: {done}")
    return Case(number=number, subject=subject, command=command, damage=tuple(damage))


def described(outcome: Outcome) -> dict[str, Any]:
    """A faulty case for the result."""
    return {
        "case": outcome.case.number,
        "subject": outcome.case.subject.name,
        "damage": list(outcome.case.damage),
        "command": " ".join(each if len(each) < 200 else f"{each[:100]}..." for each in outcome.case.command),
        "faults": list(outcome.faults),
        "code": outcome.ending.code,
        "seconds": round(outcome.ending.seconds, 2),
        "cpu_seconds": round(outcome.ending.cpu_seconds, 2),
        "peak_bytes": outcome.ending.peak_bytes,
        "printed_end": outcome.ending.output[-600:],
    }
