"""Check that a file is a whole fastText model before the library reads it: it trusts every number in it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from polycompress.corpora.unpacking import open_regular
from polycompress.errors import InputError

_MAGIC: Final = 793712314
_VERSIONS: Final = (11, 12)
_HEAD: Final = struct.Struct("<ii")


def check_model_file(path: Path) -> None:
    """Refuse what is no fastText model.

    Raises:
        InputError: It is missing, no regular file, or does not begin like a model.
    """
    with open_regular(path) as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or _HEAD.unpack(head)[0] != _MAGIC:
        raise InputError(f"{path}: not a fastText model. Give a .bin or .ftz file.")
    if (version := _HEAD.unpack(head)[1]) not in _VERSIONS:
        raise InputError(f"{path}: a fastText model of version {version}; versions 11 and 12 can be read.")
