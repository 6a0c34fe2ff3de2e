"""Objectives as a recipe asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSpec:
    """One objective."""

    name: str
    """Of the table in ``losses``."""
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
