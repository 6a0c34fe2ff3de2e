"""Batches for training: the order of a mixer, put together and collated, for one rank or many, resumable."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from polycompress.errors import InputError
from polycompress.training.batches import Batch, collate
from polycompress.training.batching import Batching, Plan, check_fits, plan_window
from polycompress.training.examples import Example
from polycompress.training.hashing import check_seed
from polycompress.training.masking import Objective
from polycompress.training.mixing import Draw, LanguageMixer, Sizes


class Source(Sizes, Protocol):
    """What batches are made of; ``Examples`` is one."""

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""

    def get(self, language: int, index: int, epoch: int = 0) -> Example:
        """One example by the number of its language and its own within it."""

    def fingerprint(self) -> dict[str, Any]:
        """What the examples are made of, as plain values: equal for equal ones."""


class BatchLoader:
    """The batches of one rank, from where it stands.

    Every rank plans all batches, which costs next to nothing, and takes its own: no rank asks another. Batch ``g`` of
    all goes to rank ``g % world_size``, so the ranks together give what one process alone would give, and a position
    saved by one rank is that of all, with any number of ranks. The order depends on the seeds and the settings alone.
    """

    def __init__(
        self,
        examples: Source,
        mixer: LanguageMixer,
        batching: Batching,
        *,
        pad_id: int,
        objective: Objective | None = None,
        first_position: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        even: bool = False,
    ) -> None:
        """Set up the beginning.

        Args:
            examples: What the mixer draws from.
            mixer: At its beginning; it belongs to the loader from now on.
            batching: How batches are made.
            pad_id: Id of padding.
            objective: Makes ids and labels.
            first_position: Of packed texts; see ``collate``.
            seed: 0 to 2 ** 64 - 1.
            rank: 0 to ``world_size - 1``.
            world_size: Ranks.
            even: Whether a last group of batches that does not suffice for all ranks is left out, where there is an
                end: ranks that wait for each other need as many each.

        Raises:
            InputError: The budget, or a packed row, is smaller than the longest example.
        """
        if not 0 <= rank < world_size:
            raise InputError(f"Rank {rank!r} is not one of {world_size!r} ranks, counted from 0.")
        check_fits(examples.longest, batching)
        self._examples, self._mixer, self._batching = examples, mixer, batching
        self._pad_id, self._objective, self._first_position = pad_id, objective, first_position
        self._seed, self._rank, self._world_size, self._even = check_seed(seed), rank, world_size, even
        self._window, self._place = 0, 0
        self._batches = 0
        self._tokens = dict.fromkeys(examples.languages, 0)
        self._reweighed: dict[str, float] | None = None
        self._anchor = mixer.state_dict()
        self._draws, self._plans = self._planned()

    @property
    def batches(self) -> int:
        """Batches given so far to all ranks together."""
        return self._batches

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens given so far to all ranks together, by language."""
        return dict(self._tokens)

    @property
    def epochs(self) -> dict[str, float]:
        """How often each language was read so far, in its own tokens."""
        sizes = self._examples.tokens
        return {
            code: self._tokens[code] / size
            for code, size in zip(self._examples.languages, sizes, strict=True)
        }

    @property
    def shares(self) -> dict[str, float]:
        """Of the tokens that are drawn next, by language."""
        return self._mixer.shares()

    def reweigh(self, shares: Mapping[str, float]) -> None:
        """Give languages other shares from the next window on; the batches of this one are put together already.

        Every rank has to ask for the same.

        Args:
            shares: A weight for every language's code.

        Raises:
            InputError: They do not fit the languages.
        """
        self._mixer.reweigh(shares)
        self._reweighed = dict(shares)

    def __iter__(self) -> Iterator[Batch]:
        """This rank's batches from here to the end, if there is one."""
        while (batch := self.next()) is not None:
            yield batch

    def next(self) -> Batch | None:
        """This rank's next batch, or None at the end."""
        group = []
        for _ in range(self._world_size):
            if (found := self._step()) is None:
                break
            group.append(found)
        if len(group) <= self._rank or (self._even and len(group) < self._world_size):
            return None
        draws, plan = group[self._rank]
        return collate(
            [
                [
                    self._examples.get(draw.language, draw.index, draw.epoch)
                    for draw in map(draws.__getitem__, row)
                ]
                for row in plan
            ],
            pad_id=self._pad_id,
            objective=self._objective,
            packed=self._batching.packed_length is not None,
            first_position=self._first_position,
            multiple=self._batching.multiple,
        )

    def state_dict(self) -> dict[str, Any]:
        """The position, the same on every rank, as plain values that survive JSON."""
        return {
            "made_with": self._made_with(),
            "mixer": dict(self._anchor),
            "window": self._window,
            "place": self._place,
            "batches": self._batches,
            "tokens": dict(self._tokens),
            "reweighed": self._reweighed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position of a loader that was made alike; the number of ranks may be another.

        Raises:
            InputError: It was made of other examples or with other settings; the message names what differs.
        """
        theirs, ours = state["made_with"], self._made_with()
        different = [
            f"{name} was {theirs.get(name)!r} and is {ours.get(name)!r}"
            for name in {**theirs, **ours}
            if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise InputError(
                f"The data position belongs to other data: {'; '.join(different)}. Resume with the settings and the "
                "corpora of before, or start a new run."
            )
        self._anchor = dict(state["mixer"])
        self._mixer.load_state_dict(self._anchor)
        self._window, self._place = int(state["window"]), int(state["place"])
        self._batches = int(state["batches"])
        self._tokens = {code: int(count) for code, count in state["tokens"].items()}
        self._draws, self._plans = self._planned()
        self._reweighed = None
        if (reweighed := state.get("reweighed")) is not None:  # since the window began
            self.reweigh(reweighed)

    def _step(self) -> tuple[list[Draw], Plan] | None:
        """The next batch of all, counted."""
        if self._place == len(self._plans):
            anchor = self._mixer.state_dict()
            draws, plans = self._planned(self._window + 1)
            if not plans:
                return None
            self._anchor, self._draws, self._plans = anchor, draws, plans
            self._window, self._place = self._window + 1, 0
            self._reweighed = None
        plan = self._plans[self._place]
        self._place += 1
        self._batches += 1
        for place in itertools.chain.from_iterable(plan):
            draw = self._draws[place]
            self._tokens[self._examples.languages[draw.language]] += draw.tokens
        return self._draws, plan

    def _planned(self, number: int | None = None) -> tuple[list[Draw], list[Plan]]:
        """Draw the next window; it ends early with a stage of the mixing, so that no batch is of two."""
        draws: list[Draw] = []
        room, stage = self._batching.token_budget * self._batching.window, self._mixer.stage
        while room > 0 and self._mixer.stage == stage and (draw := self._mixer.next()) is not None:
            draws.append(draw)
            room -= draw.tokens
        return draws, plan_window(
            draws, self._batching, self._seed, self._window if number is None else number
        )

    def _made_with(self) -> dict[str, Any]:
        return {
            "examples": self._examples.fingerprint(),
            **self._mixer.fingerprint(),
            **{f"batching.{name}": value for name, value in asdict(self._batching).items()},
            "batching.seed": self._seed,
        }
