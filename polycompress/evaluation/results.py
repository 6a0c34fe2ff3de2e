"""Result files: one JSON object for each task that a model was judged on, with everything needed to do it again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.evaluation.packing import unpack_counts
from polycompress.evaluation.records import Part
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.paths import load_json

SCHEMA: Final = 1
KIND: Final = "evaluation"
MAX_RESULT_BYTES: Final = 256 << 20
_SHOWN: Final = 60

_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "task": str,
    "split": str,
    "metric": str,
    "model": dict,
    "seeds": list,
    "scores": list,
    "averages": dict,
    "settings": dict,
}
_SCORE: Final[Mapping[str, type | tuple[type, ...]]] = {
    "language": str,
    "subset": (str, type(None)),
    "examples": int,
    "score": (int, float),
    "low": (int, float),
    "high": (int, float),
    "per_seed": list,
    "details": dict,
    "outcomes": dict,
}


@dataclass(frozen=True, slots=True)
class StoredScore:
    """One row of a result file."""

    part: Part
    score: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    examples: int
    keys: str
    outcomes: tuple[NDArray[Any], ...]
    """Of each seed: (n, k) columns of the metric."""


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result file; it appears whole or not at all.

    Raises:
        StorageError: The disk refused.
    """
    text = json.dumps(plain(result), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def read_result(path: Path) -> dict[str, Any]:
    """Read a result file and check its layout.

    Raises:
        InputError: There is none, or it is something else, damaged, or of a later version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Give a file that `polycompress eval --out DIR` wrote.")
    if path.stat().st_size > MAX_RESULT_BYTES:
        raise InputError(
            f"{path}: larger than {MAX_RESULT_BYTES >> 20} MiB. Is this a result of an evaluation?"
        )
    found = load_json(path.read_bytes(), path)
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(
            f"{path}: is no result of an evaluation. `polycompress eval --out DIR` writes such files."
        )
    if found.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: 'schema' is {found.get('schema')!r}, but this version reads {SCHEMA}. Upgrade with: "
            "pip install -U polycompress"
        )
    faults = _faults(found, _FIELDS, "") or _row_faults(found["scores"])
    if faults:
        raise InputError(f"{path}: {'; '.join(faults[:10])}. Make the file again.")
    return found


def stored_scores(result: Mapping[str, Any], where: Path) -> dict[Part, StoredScore]:
    """The rows of a result that ``read_result`` gave, by part.

    Args:
        result: The result.
        where: Its file, for messages.

    Raises:
        InputError: What each example got is damaged.
    """
    rows = {}
    for index, row in enumerate(result["scores"]):
        part = Part(row["language"], row["subset"])
        packed = row["outcomes"].get("per_seed")
        try:
            outcomes = tuple(unpack_counts(each) for each in (packed if isinstance(packed, list) else ()))
        except ValueError as error:
            raise InputError(f"{where}: scores[{index}].outcomes: {error}. Make the file again.") from error
        if not outcomes or {len(each) for each in outcomes} != {row["examples"]}:
            raise InputError(
                f"{where}: scores[{index}].outcomes: not of {row['examples']} examples. Make the file again."
            )
        if not all(np.isfinite(each).all() for each in outcomes):
            raise InputError(
                f"{where}: scores[{index}].outcomes: a number that is not finite. Make the file again."
            )
        rows[part] = StoredScore(
            part=part,
            score=float(row["score"]),
            low=float(row["low"]),
            high=float(row["high"]),
            per_seed=tuple(float(each) for each in row["per_seed"] if isinstance(each, int | float)),
            examples=row["examples"],
            keys=str(row["outcomes"].get("keys")),
            outcomes=outcomes,
        )
    return rows


def plain(value: Any) -> Any:
    """A value in the types that JSON has; numbers that are not finite become null."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)


def number(value: object, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A finite number in a range, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and low <= found <= high else None


def _row_faults(rows: Sequence[Any]) -> list[str]:
    faults = []
    seen = set()
    for index, row in enumerate(rows):
        where = f"scores[{index}]"
        if not isinstance(row, dict):
            faults.append(f"'{where}' is no object")
            continue
        wrong = _faults(row, _SCORE, f"{where}.")
        faults += wrong
        if wrong:
            continue
        if row["examples"] < 1:
            faults.append(f"{where}.examples: is {row['examples']}; a whole number from 1 on will do")
        for name in ("score", "low", "high"):
            if number(row[name], 0.0, 1.0) is None:
                faults.append(f"{where}.{name}: is {_shown(row[name])}; a number from 0 to 1 will do")
        part = Part(row["language"], row["subset"])
        if part in seen:
            faults.append(f"{where}: {_shown(part)} is there twice")
        seen.add(part)
    return faults


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _faults(found: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]], where: str) -> list[str]:
    faults = []
    for name, kind in fields.items():
        value = found.get(name)
        if name not in found:
            faults.append(f"'{where}{name}' is missing")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            faults.append(f"'{where}{name}' is of type {type(value).__name__}")
    return faults
