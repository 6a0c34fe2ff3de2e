"""What a part of the measurement found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True)
class Found:
    """The figures of one part, and whatever was not as it must be.

    Attributes:
        figures: By name, in the order of the report.
        faults: Each with what is needed to bring it about again.
        unmeasured: Why something could not be measured here.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    unmeasured: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"figures": self.figures, "faults": self.faults, "unmeasured": self.unmeasured}
