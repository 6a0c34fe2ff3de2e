"""What a table must offer for rows to be made of its rows: an array does, and so does one that lies in a file."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Rows(Protocol):
    """A table (V_s, m) of floats whose rows are asked for by number; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(V_s, m)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows."""
        ...

    def __len__(self) -> int:
        """V_s."""
        ...

    def __getitem__(self, rows: NDArray[np.integer], /) -> NDArray[Any]:
        """Some rows, (n, m)."""
        ...
