"""What a teacher said, computed once and kept on disk.

A store is a directory with ``index.json``, which says whose outputs of what kind it keeps, and shards, each written
whole and never changed (``store_shards``). A text is known by its hash, a teacher by the hash of its files; a store
answers for one teacher and one set of settings only. A run that is killed loses what it had not yet put; the next one
asks what is missing and goes on.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polycompress.distill.store_kinds import Kind, convert
from polycompress.distill.store_shards import Shard, open_shard, read_texts, write_shard
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.modeldir.paths import read_json

INDEX: Final = "index.json"
SCHEMA: Final = 1
_MAX_INDEX_BYTES: Final = 1 << 20
_HASH: Final = re.compile("[0-9a-f]{64}")

Settings = Mapping[str, str | int | float | bool | None]


def text_key(text: str) -> str:
    """What a text is known by: SHA-256 of its UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(b"text\0" + text.encode("utf-8", "surrogatepass")).hexdigest()


def ids_key(ids: ArrayLike) -> str:
    """What a text that was cut into tokens, some of them masked perhaps, is known by.

    Args:
        ids: (n,) whole numbers, without padding.
    """
    return hashlib.sha256(b"ids\0" + np.asarray(ids).astype("<i8").tobytes()).hexdigest()


class TeacherStore:
    """A teacher's outputs by text."""

    def __init__(self, path: Path, teacher_hash: str, kind: Kind, settings: Settings | None = None) -> None:
        """Open a store, or say what a new one will keep; a new one is written with the first texts.

        Args:
            path: Its directory.
            teacher_hash: SHA-256 of the teacher, 64 hexadecimal digits.
            kind: What is kept; see ``store_kinds``.
            settings: What else the outputs depend on, such as a length at which texts are cut.

        Raises:
            InputError: The store is another teacher's, keeps something else, or is damaged.
        """
        if not _HASH.fullmatch(teacher_hash):
            raise InputError(
                f"The teacher's hash {teacher_hash!r} is no SHA-256: give 64 hexadecimal digits."
            )
        self.path, self.kind = path, kind
        self._document = _document(teacher_hash, kind, settings)
        self._identity = {"teacher": teacher_hash, "kind": kind.name, "store": _hash_of(self._document)}
        self._shards: list[Shard] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        if self._check_index():
            for file in sorted(path.glob("shard-*.safetensors")):
                self._add(open_shard(file, kind, self._identity))

    @classmethod
    def within(
        cls, root: Path, teacher_hash: str, kind: Kind, settings: Settings | None = None
    ) -> TeacherStore:
        """One of several stores in a directory, which finds its own by its name.

        Args:
            root: The directory; it need not be there yet.
            teacher_hash: See the class.
            kind: See the class.
            settings: See the class.

        Raises:
            InputError: See the class.
        """
        digest = _hash_of(_document(teacher_hash, kind, settings))
        return cls(root / f"{kind.name}-{digest[:16]}", teacher_hash, kind, settings)

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return _digest(key) in self._places

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Of some texts those that the store does not have, each once, in their order.

        Args:
            keys: As ``text_key`` or ``ids_key`` makes them.
        """
        return [key for key in dict.fromkeys(keys) if _digest(key) not in self._places]

    def put(self, keys: Sequence[str], arrays: Mapping[str, Sequence[NDArray[Any]]]) -> None:
        """Add texts as one shard, which is on the disk when this returns; those that are there already are passed over.

        Put some hundreds at a time: each call makes a file.

        Args:
            keys: Of N texts.
            arrays: For each field of the kind, N arrays: (n, ...) with a row a token, or (...) for the whole text.

        Raises:
            InputError: They do not fit the kind, or hold what cannot be true; nothing is written.
            StorageError: The disk refused; what was there before is untouched.
        """
        if arrays.keys() != self.kind.fields.keys() or any(
            len(each) != len(keys) for each in arrays.values()
        ):
            counts = {name: len(each) for name, each in arrays.items()}
            raise InputError(
                f"{self.path}: {len(keys)} texts with arrays {counts}; wanted is one array a text of each of "
                f"{', '.join(self.kind.fields)}."
            )
        new = set(self.missing(keys))
        chosen = {key: number for number, key in enumerate(keys) if key in new}
        rows: dict[str, list[NDArray[Any]]] = {name: [] for name in self.kind.fields}
        for key, number in chosen.items():
            found = {
                name: convert(
                    self.kind, name, arrays[name][number], f"{self.path}: text {number} ({key[:12]})"
                )
                for name in self.kind.fields
            }
            if len({len(each) for each in found.values()}) != 1:
                lengths = {name: len(each) for name, each in found.items()}
                raise InputError(
                    f"{self.path}: text {number} ({key[:12]}) has arrays of different lengths: {lengths}."
                )
            for name, each in found.items():
                rows[name].append(each)
        if not chosen:
            return
        if not self._check_index():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise storage_error(error, self.path) from error
            with atomic_file(self.path / INDEX, "w") as file:
                file.write(json.dumps(self._document, indent=2) + "\n")
        shard = self.path / f"shard-{len(self._shards):06}-{secrets.token_hex(8)}.safetensors"
        write_shard(shard, self.kind, self._identity, [_digest(key) for key in chosen], rows)
        self._add(open_shard(shard, self.kind, self._identity))

    def get(self, keys: Sequence[str]) -> dict[str, list[NDArray[Any]]]:
        """What is kept of some texts.

        Args:
            keys: Of N texts.

        Returns:
            For each field N arrays, as they were put, in the field's type.

        Raises:
            InputError: A text is not there, or a shard is damaged.
        """
        if missing := self.missing(keys):
            raise InputError(
                f"{self.path}: {len(missing)} of {len(set(keys))} texts are not in the store ({missing[0][:12]} is one)"
                ". Compute them first."
            )
        places = [self._places[_digest(key)] for key in keys]
        found: list[dict[str, NDArray[Any]]] = [{} for _ in keys]
        for number in sorted({shard for shard, _ in places}):
            wanted = [(at, text) for at, (shard, text) in enumerate(places) if shard == number]
            read = read_texts(self._shards[number], self.kind, [text for _, text in wanted])
            for (at, _), values in zip(wanted, read, strict=True):
                found[at] = values
        return {name: [values[name] for values in found] for name in self.kind.fields}

    def _add(self, shard: Shard) -> None:
        for text, key in enumerate(shard.keys):
            self._places.setdefault(key.tobytes(), (len(self._shards), text))
        self._shards.append(shard)

    def _check_index(self) -> bool:
        """Whether there is a store, and it is this one."""
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise InputError(f"{self.path}: is a file. Give a directory for the store.")
        document = read_json(self.path, INDEX, required=False, max_bytes=_MAX_INDEX_BYTES)
        if document is None:
            if any(not entry.name.startswith(".") for entry in self.path.iterdir()):
                raise InputError(
                    f"{self.path}: has no {INDEX}, so it is no store, and is not empty. Choose another directory."
                )
            return False
        _refuse_difference(self.path, document, json.loads(json.dumps(self._document)))
        return True


def _document(teacher_hash: str, kind: Kind, settings: Settings | None) -> dict[str, Any]:
    """What a store's index says."""
    return {
        "schema": SCHEMA,
        "teacher": teacher_hash,
        "kind": kind.document(),
        "settings": dict(sorted((settings or {}).items())),
    }


def _hash_of(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _refuse_difference(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    if theirs == ours:
        return
    if not isinstance(theirs.get("teacher"), str):
        raise InputError(
            f"{path / INDEX}: names no teacher, so it is none of a store. Restore it, or remove the store."
        )
    if theirs.get("teacher") != ours["teacher"]:
        raise InputError(
            f"{path}: keeps the outputs of another teacher: {theirs['teacher'][:64]} there, {ours['teacher']} "
            "now. Go on with that teacher, or choose another directory."
        )
    fields = "; ".join(
        f"{name} is {_short(theirs.get(name))} there, {_short(ours.get(name))} now"
        for name in sorted({*theirs, *ours})
        if theirs.get(name) != ours.get(name)
    )
    raise InputError(f"{path}: keeps something else of this teacher ({fields}). Choose another directory.")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."


def _digest(key: str) -> bytes:
    if not _HASH.fullmatch(key):
        raise InputError(f"{key!r} is no key of a text: take text_key or ids_key.")
    return bytes.fromhex(key)
