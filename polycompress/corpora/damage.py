"""What a reader raises where the content of a shard cannot be read on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polycompress.errors import InputError

if TYPE_CHECKING:
    from polycompress.corpora.shards import Shard


class DamagedShardError(InputError):
    """A shard is cut off, or holds something that is no text; everything before that place was read.

    It survives pickling, so it may cross from a worker to the process that waits for it.
    """

    def __init__(self, message: str, position: str = "") -> None:
        super().__init__(message)
        self.position = position
        """Where: ``byte 13`` (of the content, unpacked), ``line 5`` or ``row group 0, row 7``, counted as the file
        is written; bytes and rows from 0, lines from 1."""
        self.shard: Shard | None = None
        """Which one, as given to ``read_shard``."""
        self.texts_read = 0
        """How many texts of it were handed out before."""
