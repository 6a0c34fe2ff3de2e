"""Judge a model on one task and keep the result: ``TASK.json`` for programs, ``TASK.md`` for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.evaluation.result_table import result_markdown
from polycompress.evaluation.results import plain, read_result, write_result
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.pipelines.evaluate import evaluate_request
from polycompress.pipelines.evaluate_request import Request
from polycompress.pipelines.gathering import Progress

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


def _known(file: Path, request: Request, *, overwrite: bool) -> dict[str, Any] | None:
    """The result that is there; None where there is none, or where what is there is to be replaced unread."""
    if not file.exists():
        return None
    try:
        found = read_result(file)
    except InputError:
        if overwrite:
            return None
        raise
    wanted = plain(request.identity())
    if found.get("identity") == wanted or overwrite:
        return found
    raise InputError(
        f"{file}: already exists, but {_difference(found.get('identity'), wanted)}. Choose another --out, or pass "
        "--overwrite to replace it."
    )


def _difference(found: object, wanted: Mapping[str, Any]) -> str:
    if not isinstance(found, Mapping):
        return "does not say of what it is"
    names = [name for name in wanted if found.get(name) != wanted[name]]
    return f"is of another request (another {', another '.join(names) or 'kind'})"
