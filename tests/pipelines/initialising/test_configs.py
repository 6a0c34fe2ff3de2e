"""Configuration files translated to other tokens."""

from __future__ import annotations

import numpy as np

from polycompress.embeddings.initialising.plans import Rule, copies
from polycompress.pipelines.initialising.configs import standing_for


def test_a_token_is_stood_for_by_its_own_kind_first() -> None:
    rule = np.array([Rule.EXACT, Rule.ROLE, Rule.FOLDED, Rule.EXACT, Rule.SAMPLED], dtype=np.uint8)
    source = np.array([2, 2, 1, 0, -1], dtype=np.int32)
    plan = copies(rule, source, np.ones(3, dtype=np.bool_))
    # Row 2 is a special token's: by its role and not by its text. Case alone makes no stand-in.
    assert standing_for(plan) == {2: 1, 0: 3}
