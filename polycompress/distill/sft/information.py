"""What a difference's file says of itself: JSON from anywhere, read field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.distill.sft.diff import BaseTensor, DiffInfo, SparseDiff
from polycompress.errors import InputError
from polycompress.modeldir.header import byte_count

SCHEMA: Final = 1
"""Version of the layout. A later one is refused, never guessed at."""
MAX_CHARACTERS: Final = 1 << 24
"""Cap of the JSON; a model of a thousand tensors needs about 150 kB."""
CONFIG_FIELDS: Final = frozenset({
    "architectures", "finetuning_task", "id2label", "label2id", "num_labels", "problem_type",
})  # fmt: skip
"""What a difference may set in config.json: the head's classes and their names, nothing that loads code."""
MAX_AXES: Final = 64
_SHOWN: Final = 10
_FIELDS: Final = ("schema", "k", "task", "languages", "notes", "config", "prefix", "dropped", "base")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = re.compile(r"([A-Za-z_]\w{0,63}\.)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SftHeader:
    """What a file says of itself."""

    info: DiffInfo
    k: int
    """Entries of all its tensors."""

    @property
    def density(self) -> float:
        """Their share of the base model's values."""
        return self.k / max(1, sum(tensor.size for tensor in self.info.base.values()))


def encode_information(diff: SparseDiff) -> str:
    """The JSON of a difference, without its values.

    Raises:
        InputError: It sets fields of a configuration that it must not.
    """
    info = diff.info
    if unknown := sorted(info.config.keys() - CONFIG_FIELDS):
        raise InputError(
            f"A difference may not set {', '.join(unknown)} in config.json, only {', '.join(sorted(CONFIG_FIELDS))}."
        )
    document = {
        "schema": SCHEMA,
        "k": diff.k,
        "density": diff.density,
        "task": info.task,
        "languages": list(info.languages),
        "notes": list(info.notes),
        "config": dict(info.config),
        "prefix": info.prefix,
        "dropped": list(info.dropped),
        "base": {
            name: {"dtype": tensor.dtype, "shape": list(tensor.shape), "sha256": tensor.sha256}
            for name, tensor in sorted(info.base.items())
        },
    }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"))


def read_information(text: str, path: Path) -> SftHeader:
    """Read that JSON.

    Args:
        text: From anywhere.
        path: Its file, for messages.

    Raises:
        InputError: It is missing, too long, no JSON, of a later schema, or fields are wrong; all of them are named.
    """
    document = _parse(text, path)
    fields: dict[str, Any] = {key: document.get(key) for key in _FIELDS}
    schema = fields["schema"]
    if not _is_count(schema) or schema == 0:
        raise InputError(
            f"{path}: 'schema' is {schema!r}, not a version number. Fetch or make the file again."
        )
    if schema > SCHEMA:
        raise InputError(
            f"{path}: schema {schema} is newer than this version of polycompress reads ({SCHEMA}). Upgrade with: "
            "pip install -U polycompress"
        )
    faults = []
    k, task, config, prefix, base = (fields[key] for key in ("k", "task", "config", "prefix", "base"))
    if not _is_count(k):
        faults.append(f"'k' is {k!r}, not a number of entries")
    if not (task is None or isinstance(task, str)):
        faults.append("'task' is neither text nor null")
    for key in ("languages", "notes", "dropped"):
        value = fields[key]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            faults.append(f"'{key}' is no list of texts")
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        faults.append(f"'prefix' is {prefix!r:.80}, not the beginning of a name such as 'roberta.'")
    if not isinstance(config, dict):
        faults.append("'config' is no object")
    elif unknown := sorted(config.keys() - CONFIG_FIELDS):
        faults.append(
            f"'config' sets {', '.join(unknown)}; only {', '.join(sorted(CONFIG_FIELDS))} may be set"
        )
    if not isinstance(base, dict) or not base:
        faults.append("'base' must describe the tensors of the base model")
    else:
        faults += [
            f"'base' of tensor '{name}': {fault}"
            for name, each in base.items()
            if (fault := _base_fault(each))
        ]
    if faults:
        raise faulty(path, faults)
    info = DiffInfo(
        base={n: BaseTensor(each["dtype"], tuple(each["shape"]), each["sha256"]) for n, each in base.items()},
        task=task,
        languages=tuple(fields["languages"]),
        config=config,
        prefix=prefix,
        dropped=tuple(fields["dropped"]),
        notes=tuple(fields["notes"]),
    )
    return SftHeader(info, k)


def faulty(path: Path, faults: Sequence[str]) -> InputError:
    """An error that names faults of a file, the first ten of many."""
    shown = [*faults[:_SHOWN], *([f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else [])]
    return InputError(f"{path}: no sound difference. Fetch or make the file again:\n  " + "\n  ".join(shown))


def _parse(text: str, path: Path) -> Mapping[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"{path}: its metadata has {len(text)} characters, over the limit of {MAX_CHARACTERS}."
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: its metadata is not JSON ({error}). Fetch or make the file again."
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: its metadata is no JSON object. Fetch or make the file again.")
    return document


def _base_fault(each: object) -> str:
    if not isinstance(each, dict):
        return "is no object"
    dtype, shape, digest = each.get("dtype"), each.get("shape"), each.get("sha256")
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(_is_count(length) for length in shape):
        return "'shape' is no list of lengths"
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        return "'sha256' is no SHA-256"
    if not isinstance(dtype, str):
        return "'dtype' is no text"
    try:
        byte_count(dtype, shape)
    except ValueError as error:
        return str(error)
    return ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
