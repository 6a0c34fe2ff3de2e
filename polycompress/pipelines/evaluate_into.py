"""Judge a model on one task and keep the result: ``TASK.json`` for programs, ``TASK.md`` for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.evaluation.records import Part
from polycompress.evaluation.result_table import result_markdown
from polycompress.evaluation.results import plain, read_result, write_result
from polycompress.evaluation.scoring import examples_hash
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.pipelines.evaluate import evaluate_request
from polycompress.pipelines.judging.parts import read_parts
from polycompress.pipelines.judging.request import Request
from polycompress.pipelines.trimming.gathering import Progress

logger = logging.getLogger(__name__)


def evaluate_into(
    out: Path | None,
    request: Request,
    *,
    baseline: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Judge a model and write the result; one that is there already and of the same request is taken as it is.

    Args:
        out: The directory; None: nothing is written.
        request: As ``find_request`` gives it.
        baseline: Also measure what a bag of words reaches.
        overwrite: Do it again, and replace what is there.
        progress: Called as work goes on.
        command: What to record as the command.

    Returns:
        The result.

    Raises:
        InputError: There is a result of another request.
        StorageError: The disk refused.
    """
    if out is None:
        return evaluate_request(request, baseline=baseline, progress=progress, command=command)
    check_out(out)
    file = out / f"{request.task.id}.json"
    known = _known(file, request, overwrite=overwrite)
    if known is not None and not overwrite and (known.get("baseline") is not None or not baseline):
        logger.warning("%s: is there already, of the same model and examples; it is kept", file)
        return known
    result: dict[str, Any] = plain(
        evaluate_request(request, baseline=baseline, known=known, progress=progress, command=command)
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, out) from error
    with atomic_file(file.with_suffix(".md"), "w") as page:
        page.write(result_markdown(result))
    write_result(file, result)
    return result


def check_out(out: Path) -> None:
    """Refuse a directory for results that cannot be one, before any work is done.

    Raises:
        InputError: A file is in the way.
    """
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"--out {out}: '{there}' is no directory. Choose another place.")


def _known(file: Path, request: Request, *, overwrite: bool) -> dict[str, Any] | None:
    """The result that is there; None where there is none, or where what is there is to be replaced unread."""
    if not file.exists():
        return None
    try:
        found = read_result(file)
        _check_whole(file, found)
    except InputError:
        if overwrite:
            return None
        raise
    other = [] if overwrite else _differences(found, request)
    if other:
        raise InputError(
            f"{file}: already exists, but is of another request ({', '.join(f'other {name}' for name in other)}). "
            "Choose another --out, or pass --overwrite to replace it."
        )
    return found


def _check_whole(file: Path, found: Mapping[str, Any]) -> None:
    try:
        result_markdown(found)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: is no whole result ({error!r}). Pass --overwrite to replace it, or choose another --out."
        ) from error


def _differences(found: Mapping[str, Any], request: Request) -> list[str]:
    """What a result differs in from a request."""
    identity, wanted = found.get("identity"), plain(request.identity())
    recorded: Mapping[str, Any] = identity if isinstance(identity, Mapping) else {}
    names = [name for name in wanted if recorded.get(name) != wanted[name]]
    return names or ([] if _same_examples(found, request) else ["examples"])


def _same_examples(found: Mapping[str, Any], request: Request) -> bool:
    """Whether a data directory still holds what was judged; what the hub holds is pinned."""
    if request.data is None:
        return True
    there = read_parts(
        request.task, request.parts.found, request.split, data=request.data, limit=request.limit
    )
    judged = {Part(row["language"], row["subset"]): row["outcomes"].get("keys") for row in found["scores"]}
    return judged == {part: examples_hash(examples) for part, examples in there.items()}
