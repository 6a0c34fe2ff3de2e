"""Carry out the stages of a plan: each at work in a place of its own, and put in its place when it is whole.

``work/NAME`` is where a stage works; ``work/NAME.json`` says for which key, and, once the command has ended, what it
printed. Only then times are taken out of the files, the output is moved to ``stages/``, and its record is written. A
process that is killed between any two of these steps leaves enough for the next to go on.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import PolycompressError
from polycompress.evaluation.provenance import machine, versions
from polycompress.modeldir.atomic import sync_tree
from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.recipes.commands import as_parameters
from polycompress.pipelines.recipes.directory import RUN, WORK, RunDirectory, read_note, write_note
from polycompress.pipelines.recipes.placing import Call, call_of
from polycompress.pipelines.recipes.planning import Plan, Planned, tree_bytes
from polycompress.pipelines.recipes.times import moved, split, take_times
from polycompress.training.metrics import METRICS_FILE
from polycompress.training.run_files import CONFIG

logger = logging.getLogger(__name__)

Tell = Callable[[Planned, str], None]
"""With a stage, and ``begins``, ``ended`` or ``finished`` (before)."""
_OLD: Final = ".old"


class StageError(PolycompressError):
    """A stage failed; the run can be taken up again."""

    def __init__(self, name: str, message: str, exit_code: int) -> None:
        self.stage = name
        self.exit_code = exit_code
        super().__init__(f"stage {name}: {message}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A stage that is finished."""

    planned: Planned
    was_finished: bool
    record: Mapping[str, Any]
    seconds: float | None
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        stage = self.planned.stage
        return {
            "number": stage.number,
            "name": stage.name,
            "do": stage.command.name,
            "state": "finished before" if self.was_finished else "done",
            "seconds": self.seconds,
            "bytes": self.bytes,
            "result": self.record.get("result"),
        }


def run_stages(plan: Plan, run: RunDirectory, tell: Tell | None = None) -> list[Done]:
    """Carry out what is not finished. The working directory is the run's while a stage is at work.

    Args:
        plan: What to do.
        run: Its directory, locked.
        tell: Told of each stage that begins or ends.

    Returns:
        All stages.

    Raises:
        StageError: One failed, with the exit code that its command alone would end with.
    """
    done = []
    for planned in plan.stages:
        if planned.state == "finished":
            _tell(tell, planned, "finished")
        else:
            _tell(tell, planned, "begins")
            with contextlib.chdir(run.root), _named(planned.stage.name):
                _run_stage(plan, planned, RunDirectory(Path()))
            gc.collect()  # a model that is in use no more, before the next is loaded
            _tell(tell, planned, "ended")
        done.append(_done(planned, run))
    remove(run.root / WORK)
    return done


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors that begin with a stage's name."""
    try:
        yield
    except PolycompressError as error:
        raise StageError(name, str(error), error.exit_code) from error
    except MemoryError as error:
        raise StageError(name, "out of memory", 1) from error
    except OSError as error:
        raise StageError(name, str(error), 1) from error


def _run_stage(plan: Plan, planned: Planned, run: RunDirectory) -> None:
    """Do one stage, or what is left of it."""
    stage, note = planned.stage, run.note(planned.stage)
    known = read_note(note)
    if known.get("key") != planned.key or "result" not in known:
        call = call_of(plan, planned, run)
        is_begun = known.get("key") == planned.key and stage.kind.leaves == "run"
        can_resume = is_begun and (call.work / CONFIG).exists()
        if not can_resume:
            _clear(call.work)
            write_note(note, {"key": planned.key})
        known = _carry_out(planned, call, can_resume)
        write_note(note, known)
    if run.work(stage).is_dir():
        known["times"] = take_times(run.work(stage), run.output(stage))
    _publish(plan, planned, run, known)


def _carry_out(planned: Planned, call: Call, resume: bool) -> dict[str, Any]:
    """Call the command; what to note of it."""
    stage = planned.stage
    parameters = {**as_parameters(stage.command, stage.options), **call.parameters}
    if stage.kind.leaves == "run":
        parameters["resume"] = resume
    began, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    call.prepare()
    found = stage.command.call(parameters, call.typed)
    result, times = split(moved(found, str(call.work), str(call.place)))
    return {
        "key": planned.key,
        "result": result,
        "result_times": times,
        "typed": ["polycompress", *call.typed],
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 3),
        "resumed": resume,
    }


def _publish(plan: Plan, planned: Planned, run: RunDirectory, known: Mapping[str, Any]) -> None:
    """Put a whole output in its place, and write down what is known of it; an old one goes last."""
    stage = planned.stage
    work, place = run.work(stage), run.output(stage)
    old = work.with_name(stage.name + _OLD)
    if work.is_dir():
        sync_tree(work)
        _clear(old)
        if os.path.lexists(place):
            place.rename(old)
            run.record(stage).unlink(
                missing_ok=True
            )  # it tells of the old one, and must never lie beside the new
        work.rename(place)
    elif not stage.has_output:
        _clear(place)
    _write_times(plan, planned, run, known)
    write_note(
        run.record(stage),
        {
            "name": stage.name,
            "do": stage.command.name,
            "key": planned.key,
            "identity": dict(planned.identity),
            "typed": known["typed"],
            "result": known["result"],
        },
    )
    _clear(old)
    run.note(stage).unlink(missing_ok=True)


def _write_times(plan: Plan, planned: Planned, run: RunDirectory, known: Mapping[str, Any]) -> None:
    path = run.root / RUN
    found = read_note(path)
    stages = found.get("stages", {})
    stages[planned.stage.name] = {
        "do": planned.stage.command.name,
        "began": known["began"],
        "seconds": known["seconds"],
        "resumed": known["resumed"],
        "steps": planned.stage.options.get("steps"),
        "training_seconds": _training_seconds(known.get("times") or {}),
        "result": known.get("result_times"),
        "files": known.get("times"),
    }
    write_note(
        path, {"recipe": plan.recipe.name, "machine": machine(), "versions": versions(), "stages": stages}
    )


def _training_seconds(times: Mapping[str, Any]) -> float | None:
    """Of a run, what its last line of figures says; interruptions are left out."""
    lines = times.get(METRICS_FILE)
    return lines[-1].get("seconds") if lines and isinstance(lines[-1], dict) else None


def _done(planned: Planned, run: RunDirectory) -> Done:
    output = run.output(planned.stage)
    times = read_note(run.root / RUN).get("stages", {}).get(planned.stage.name, {})
    return Done(
        planned=planned,
        was_finished=planned.state == "finished",
        record=read_note(run.record(planned.stage)),
        seconds=times.get("seconds"),
        bytes=tree_bytes(output) if output.is_dir() else 0,
    )


def _clear(path: Path) -> None:
    if os.path.lexists(path):
        remove(path)


def _tell(tell: Tell | None, planned: Planned, what: str) -> None:
    logger.info("stage %s: %s", planned.stage.name, what)
    if tell is not None:
        tell(planned, what)
