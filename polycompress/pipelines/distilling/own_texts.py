"""Teachers of text that cut it otherwise than the student: which they are, and what they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.corpora import CorpusSpec
from polycompress.errors import InputError
from polycompress.modeldir.directory import file_sha256
from polycompress.pipelines.distilling.recipe_teachers import relation, words_faults
from polycompress.pipelines.distilling.text_answers import vocabularies
from polycompress.pipelines.distilling.text_data import Tell
from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.training.devices import Devices
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.errors import ConfigError
from polycompress.training.examples import Examples
from polycompress.training.model import longest_text
from polycompress.training.own_texts import OwnLanguage, items_of, words_of
from polycompress.training.own_texts_making import OwnCutting, prepare_own_texts
from polycompress.training.own_tokens import OwnTokenInputs, OwnTokens
from polycompress.training.run_files import FINAL
from polycompress.training.tokenising import Cutting

MORE: Final = 4
"""How many times as many tokens as the student a teacher is shown at most of one piece of text."""


def shares_tokens(student: SourceModel, teacher: SourceModel, corpora: Sequence[CorpusSpec]) -> bool:
    """Whether a teacher can be shown the student's tokens: it has all of them, and cuts the first texts alike."""
    if student.tokenizer_json == teacher.tokenizer_json:
        return True
    if relation(student, teacher)[0] == "other":
        return False
    try:
        vocabularies(student, teacher.path, corpora)
    except InputError:
        return False
    return True


def find_aliens(
    run: TextRun, student: SourceModel, teachers: Sequence[Path], out: Path
) -> list[SourceModel | None]:
    """Of each teacher the model where it cuts texts otherwise than the student, else None.

    Args:
        run: What is asked for.
        student: Found.
        teachers: Model directories.
        out: The run's directory.

    Raises:
        ConfigError: Something cannot be learnt of one; every fault is named.
    """
    found: list[SourceModel | None] = []
    faults = []
    for place, path in enumerate(teachers):
        found.append(None)
        if file_sha256(path, "tokenizer.json") in student.hashes.values():
            continue
        teacher = find_source_model(path, out / FINAL)
        trouble = words_faults(run.losses, place, masked=run.config.masked)
        kind, why = relation(student, teacher)
        if kind == "other":
            faults += [f"{each} (the student's tokenizer is not that of {path}: {why})" for each in trouble]
            found[-1] = teacher
        elif not trouble and run.keep is None and not shares_tokens(student, teacher, run.corpora):
            found[-1] = teacher
    if faults:
        raise ConfigError(faults, "Distillation on text")
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """Teachers of which some cut texts otherwise than the student."""

    models: tuple[SourceModel | None, ...]
    """Of each teacher; None: it is shown the student's tokens."""
    rooms: tuple[int, ...]
    """Tokens that each teacher has room for."""

    @property
    def cuttings(self) -> list[OwnCutting]:
        """Of those with tokens of their own."""
        return [
            OwnCutting(tokenizer_json=each.tokenizer_json, max_length=room, pad_id=each.pad_id)
            for each, room in zip(self.models, self.rooms, strict=True)
            if each is not None
        ]

    def inputs(self, inputs: Inputs, parts: Sequence[OwnLanguage]) -> OwnTokenInputs:
        """Batches of other inputs, with what teachers with tokens of their own are shown."""
        numbers = iter(range(1, len(self.models) + 1))
        sides = [0 if each is None else next(numbers) for each in self.models]
        own = OwnTokens(
            items=tuple(items_of(parts, side) if side else None for side in sides),
            pad_ids=tuple(0 if each is None else each.pad_id for each in self.models),
            words=tuple(words_of(parts, side) for side in (0, *sides)),
        )
        return OwnTokenInputs(inputs, own)


def make_apart(aliens: Sequence[SourceModel | None], models: Sequence[Any], max_length: int) -> Apart | None:
    """Teachers with tokens of their own, if there are any.

    Args:
        aliens: As ``find_aliens`` gives them.
        models: The teachers, loaded.
        max_length: Tokens of a piece of text, of the student.
    """
    if all(each is None for each in aliens):
        return None
    rooms = (min(MORE * max_length, longest_text(model) or MORE * max_length) for model in models)
    return Apart(models=tuple(aliens), rooms=tuple(rooms))


def read_own_texts(
    run: TextRun,
    student: SourceModel,
    apart: Apart,
    corpora: tuple[CorpusSpec, ...],
    examples: Examples,
    name: str,
    out: Path,
    devices: Devices,
    tell: Tell | None,
) -> tuple[OwnLanguage, ...]:
    """The examples in the teachers' own tokens; the main process makes them, the others find them.

    Args:
        run: How texts are cut.
        student: Whose tokens the examples are in.
        apart: The teachers.
        corpora: The texts.
        examples: Made of them.
        name: Of the directory in the run's ``data/``.
        out: The run's directory.
        devices: The processes.
        tell: Told how far it is.

    Raises:
        InputError: A file cannot be read, or nothing can be compared.
    """
    report = (
        (lambda code, amount: tell(f"finding words of {code}", amount, None)) if tell is not None else None
    )
    if not devices.is_main:
        devices.wait()
    found = prepare_own_texts(
        student.tokenizer_json,
        apart.cuttings,
        corpora,
        examples,
        out / "data" / name,
        Cutting(max_length=run.config.max_length),
        reading=run.reading,
        progress=report,
    )
    if devices.is_main:
        devices.wait()
    return found


def coverage_of(parts: Sequence[OwnLanguage], apart: Apart) -> dict[str, Any]:
    """For the manifest: by language, the share of each model's tokens that stand in words which all have."""
    teachers = [place for place, each in enumerate(apart.models) if each is not None]
    names = ["student", *(f"teacher {place + 1}" if place else "teacher" for place in teachers)]
    return {
        str(part.meta["language"]): {
            name: round(share, 6) for name, share in zip(names, part.coverage, strict=True)
        }
        for part in parts
    }
