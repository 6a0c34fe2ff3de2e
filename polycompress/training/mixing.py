"""Language mixing: which example comes next, so that every language keeps its share of the tokens.

The mixer takes examples so that the tokens of the languages stand in their shares at every moment, to within about one
example per language. It draws no lots, so a small share is never starved, and its whole state is a few numbers each.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.training.hashing import check_seed, name_word, shuffled
from polycompress.training.shares import Mixing, shares_of

_STREAM: Final = name_word("mixing")
_AHEAD: Final = 1024
"""Examples of a language that are looked up together."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Mixing for a stretch of the training."""

    mixing: Mixing
    tokens: int | None = None
    """How long, in tokens of all languages; None, which only the last may be: to the end."""


class Sizes(Protocol):
    """What the mixer must know of the examples; ``Examples`` does."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Examples of each language, all above 0."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens of each language."""

    def lengths(self, language: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some examples of a language."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One example in its turn."""

    language: int
    """Number of the language."""
    index: int
    """Of the example within its language."""
    epoch: int
    """How often it was drawn before."""
    tokens: int


class LanguageMixer:
    """Examples of all languages in the order of training; without an end unless ``max_epochs`` is given.

    Each language is shuffled anew in each of its epochs, by the seed and the number of the epoch. The next example is
    of the language that is furthest behind its share (start-time fair queueing with the languages as flows).
    """

    def __init__(
        self,
        examples: Sizes,
        stages: Sequence[Stage] = (Stage(Mixing()),),
        *,
        seed: int = 0,
        budget: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        """Set up the beginning.

        Args:
            examples: Of at least one language.
            stages: One after another; all but the last say how long.
            seed: 0 to 2 ** 64 - 1.
            budget: Tokens of the whole training; for ``unimax`` in a stage that does not say how long it is.
            max_epochs: A language that was read so often is left out, and when all are, the end has come. None: never.

        Raises:
            InputError: A value is wrong.
        """
        if max_epochs is not None and max_epochs < 1:
            raise InputError(f"max_epochs is {max_epochs!r}: give at least 1, or leave it out.")
        self._examples = examples
        self._seed, self._max_epochs = check_seed(seed), max_epochs
        self._ends, self._shares = _schedule(stages, examples, budget)
        self._limits = [math.inf if max_epochs is None else count * max_epochs for count in examples.counts]
        self._ahead: list[_Ahead] = [
            _Ahead(examples, number, seed) for number in range(len(examples.languages))
        ]
        self._drawn = [0] * len(self._limits)
        self._tokens = [0] * len(self._limits)
        self._total = 0
        self._stage = 0
        self._reweighed: list[float] | None = None
        self._tags = [0.0] * len(self._limits)
        self._refill()

    @property
    def stage(self) -> int:
        """Number of the stage that the next example belongs to."""
        return self._stage

    def shares(self, stage: int | None = None) -> dict[str, float]:
        """Shares of tokens in a stage, by default those of the next example."""
        chosen = self._present if stage is None else self._shares[stage]
        return dict(zip(self._examples.languages, chosen, strict=True))

    def reweigh(self, shares: Mapping[str, float]) -> None:
        """Take other shares from the next example to the end, whatever the stages say; nobody is behind then.

        Args:
            shares: A weight for every language's code.

        Raises:
            InputError: They do not fit the languages.
        """
        sizes = np.array(self._examples.tokens, dtype=np.float64)
        fixed = Mixing(strategy="fixed", shares=shares)
        self._reweighed = shares_of(fixed, self._examples.languages, sizes, None).tolist()
        self._tags = [0.0] * len(self._tags)
        self._refill()

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens drawn so far, by language."""
        return dict(zip(self._examples.languages, self._tokens, strict=True))

    @property
    def epochs(self) -> dict[str, float]:
        """How often each language was read so far."""
        counts = self._examples.counts
        return {
            code: drawn / count
            for code, drawn, count in zip(self._examples.languages, self._drawn, counts, strict=True)
        }

    def __iter__(self) -> Iterator[Draw]:
        """From here to the end, if there is one."""
        while (draw := self.next()) is not None:
            yield draw

    def next(self) -> Draw | None:
        """The next example, or None at the end."""
        if not self._heap:
            return None
        tag, number = heapq.heappop(self._heap)
        position = self._drawn[number]
        index, tokens = self._ahead[number].at(position)
        self._drawn[number] = position + 1
        self._tokens[number] += tokens
        self._total += tokens
        self._tags[number] = tag + tokens / self._present[number]
        if position + 1 < self._limits[number]:
            heapq.heappush(self._heap, (self._tags[number], number))
        while self._stage < len(self._ends) and (self._total >= self._ends[self._stage] or not self._heap):
            self._stage += 1
            self._tags = [0.0] * len(self._tags)
            self._refill()
        return Draw(number, index, position // self._examples.counts[number], tokens)

    def fingerprint(self) -> dict[str, Any]:
        """What the order depends on besides the examples' content, as plain values: equal for equal orders."""
        return {
            "mixing.seed": self._seed,
            "mixing.max_epochs": self._max_epochs,
            "mixing.languages": list(self._examples.languages),
            "mixing.examples": list(self._examples.counts),
            "mixing.stage_ends": self._ends,
            "mixing.shares": self._shares,
        }

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain values that survive JSON."""
        return {
            "stage": self._stage,
            "drawn": list(self._drawn),
            "tokens": list(self._tokens),
            "tags": list(self._tags),
            "reweighed": None if self._reweighed is None else list(self._reweighed),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position of a mixer that was made alike."""
        self._stage = int(state["stage"])
        self._drawn = [int(value) for value in state["drawn"]]
        self._tokens = [int(value) for value in state["tokens"]]
        self._total = sum(self._tokens)
        self._tags = [float(value) for value in state["tags"]]
        reweighed = state.get("reweighed")  # which snapshots of earlier versions lack
        self._reweighed = None if reweighed is None else [float(value) for value in reweighed]
        self._refill()

    @property
    def _present(self) -> list[float]:
        return self._shares[self._stage] if self._reweighed is None else self._reweighed

    def _refill(self) -> None:
        share = self._present
        self._heap = [
            (tag, number)
            for number, tag in enumerate(self._tags)
            if share[number] > 0 and self._drawn[number] < self._limits[number]
        ]
        heapq.heapify(self._heap)


def _schedule(
    stages: Sequence[Stage], examples: Sizes, budget: int | None
) -> tuple[list[int], list[list[float]]]:
    """Where each stage but the last ends, in tokens from the start, and its shares."""
    if not stages:
        raise InputError("Mixing needs at least one stage.")
    sizes = np.array(examples.tokens, dtype=np.float64)
    begin = 0
    ends: list[int] = []
    shares: list[list[float]] = []
    for number, stage in enumerate(stages, start=1):
        last = number == len(stages)
        if (stage.tokens is None and not last) or (stage.tokens is not None and stage.tokens < 1):
            raise InputError(
                f"Stage {number} of the mixing has {stage.tokens!r} tokens: every stage but the last says how many, at "
                "least 1."
            )
        left = budget - begin if budget is not None else None
        shares.append(shares_of(stage.mixing, examples.languages, sizes, stage.tokens or left).tolist())
        begin += stage.tokens or 0
        ends.append(begin)
    return ends[:-1], shares


class _Ahead:
    """Indices and lengths of a language's next examples, looked up in blocks."""

    def __init__(self, examples: Sizes, number: int, seed: int) -> None:
        self._examples, self._number = examples, number
        self._key = (seed, _STREAM, name_word(examples.languages[number]))
        self._begin = 0
        self._block: tuple[list[int], list[int]] = ([], [])

    def at(self, position: int) -> tuple[int, int]:
        """Index and length of the example at a position counted through all epochs."""
        place = position - self._begin
        if not 0 <= place < len(self._block[0]):
            count = self._examples.counts[self._number]
            epoch, first = divmod(position, count)
            places = np.arange(first, min(first + _AHEAD, count))
            indices = shuffled(places, count, *self._key, epoch)
            lengths = self._examples.lengths(self._number, indices)
            self._begin, place = position, 0
            self._block = (indices.tolist(), lengths.tolist())
        return self._block[0][place], self._block[1][place]
