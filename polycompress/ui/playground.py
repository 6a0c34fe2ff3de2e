"""The playground: two models on the same text."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nicegui import run, ui

from polycompress.errors import MissingExtraError, PolycompressError
from polycompress.languages import find_language
from polycompress.modeldir.figures import count, size
from polycompress.ui.markup import render_pieces
from polycompress.ui.models import OpenedModel, last_written, open_model
from polycompress.ui.pieces import MAX_CHARACTERS, Piece, cut, cut_otherwise, words
from polycompress.ui.samples import listed_languages, sample_texts

if TYPE_CHECKING:
    from polycompress.ui.answers import Answer, Answers

logger = logging.getLogger(__name__)

DEFAULT_LANGUAGE: Final = "eng-Latn"
_SIDES: Final = ("left", "right")
_EXPLAINED: Final[Mapping[str, str]] = {
    "masked": "Guesses for the gap (write ___ in the text; without one, its last word is hidden)",
    "causal": "Likeliest next tokens",
    "classes": "Classes",
    "tags": "Tags of the words",
    "vectors": "Similarity of the text to the second text",
}


@functools.lru_cache(maxsize=4)
def _open(name: str, path: Path, written: int) -> OpenedModel:
    return open_model(name, path)


@functools.cache
def _answers() -> Answers:
    """The models in memory, of all pages together.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        from polycompress.ui.answers import Answers
    except ModuleNotFoundError as error:
        raise MissingExtraError("Predictions", "train") from error
    return Answers()


class Playground:
    """Its fields, and what is shown below them."""

    def __init__(self, choices: Mapping[str, Path]) -> None:
        self._choices = choices
        self._sides: dict[str, Any] = {}
        self._outcomes: dict[str, Any] = {}
        self._has_begun = False

    def show(self) -> None:
        """Lay it out."""
        if not self._choices:
            ui.label("There are no models here. Give some with --model MODEL.")
            return
        names = list(self._choices)
        with ui.row().classes("w-full items-end"):
            for side, name in zip(_SIDES, (names[0], names[min(1, len(names) - 1)]), strict=True):
                self._sides[side] = (
                    ui.select(names, value=name, label=f"Model on the {side}", on_change=self._changed)
                    .classes("grow")
                    .props(f"data-testid=model-{side}")
                )
            self._language = (
                ui.select({}, label="Language", with_input=True, on_change=self._take_sample)
                .classes("grow")
                .props("data-testid=language")
            )
        limit = f"maxlength={MAX_CHARACTERS}"
        self._text = ui.textarea("Text", on_change=self._changed).classes("w-full")
        self._text.props(f"autogrow debounce=300 {limit} data-testid=text")
        self._second = ui.input("Second text, for sentence encoders").classes("w-full")
        self._second.props(f"{limit} data-testid=second")
        with ui.row().classes("items-center"):
            ui.button("Predict", on_click=self._predict).props("no-caps data-testid=predict")
            self._summary = ui.label().props("data-testid=summary role=status")
        with (
            ui.element("div")
            .classes("grid w-full gap-4")
            .style("grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr))")
        ):
            for side in _SIDES:
                self._outcomes[side] = _Outcome(side)

    async def begin(self) -> None:
        """Fill in the languages of the models, and the first text; once."""
        if self._has_begun or not self._choices:
            return
        self._has_begun = True
        opened = await self._opened()
        own = [code for each in opened for code in (each.languages if each is not None else ())]
        languages = await run.io_bound(listed_languages, own)
        self._language.set_options(languages, value=own[0] if own else DEFAULT_LANGUAGE)

    async def _take_sample(self) -> None:
        if self._language.value is None:
            return
        first, second = await run.io_bound(sample_texts, self._language.value)
        self._second.set_value(second)
        self._text.set_value(first)

    async def _opened(self) -> list[OpenedModel | None]:
        found: list[OpenedModel | None] = []
        for side in _SIDES:
            name = self._sides[side].value
            opened, reason = await _tried(_open, name, path := self._choices[name], last_written(path))
            self._outcomes[side].show_model(opened, name, reason)
            found.append(opened)
        return found

    async def _changed(self) -> None:
        """Cut the text anew with both tokenizers."""
        text = (self._text.value or "")[:MAX_CHARACTERS]
        opened = await self._opened()
        cuts: list[Sequence[Piece]] = []
        for side, model in zip(_SIDES, opened, strict=True):
            pieces, reason = ((), "") if model is None else await _tried(cut, model.tokenizer, text)
            if reason:
                self._outcomes[side].complain(reason)
            cuts.append(pieces or ())
        whole = None not in opened
        otherwise = cut_otherwise(text, cuts[0], cuts[1]) if whole else frozenset()
        direction = find_language(self._language.value or DEFAULT_LANGUAGE).direction
        for side, pieces in zip(_SIDES, cuts, strict=True):
            self._outcomes[side].show_pieces(pieces, otherwise, direction)
        self._summary.set_text(
            f"{count(len(otherwise))} of {count(len(words(text)))} words are cut otherwise." if whole else ""
        )

    async def _predict(self) -> None:
        text, second = self._text.value or "", self._second.value or ""
        found: list[Answer | None] = []
        for side, model in zip(_SIDES, await self._opened(), strict=True):
            if model is None:
                found.append(None)
                continue
            self._outcomes[side].wait()
            answer, reason = await _tried(lambda model: _answers().ask(model, text, second), model)
            self._outcomes[side].show_answer(answer, reason)
            found.append(answer)
        one, other = found
        if one is None or other is None or one.vector is None or other.vector is None:
            return
        from polycompress.ui.answers import similarity

        alike = similarity(one.vector, other.vector)
        self._summary.set_text(
            "The models' vectors of the text have different lengths, so they cannot be compared."
            if alike is None
            else f"The two models' vectors of the text: cosine {alike:.4f}."
        )


class _Outcome:
    """What one model does with the text."""

    def __init__(self, side: str) -> None:
        with ui.card().props(f"flat bordered data-testid=outcome-{side}").classes("w-full"):
            self._name = ui.label().classes("text-subtitle1")
            self._facts = ui.label().classes("text-body2")
            self._total = ui.label().classes("text-body1").props(f"data-testid=total-{side}")
            self._pieces = ui.html("", sanitize=False).props(f"data-testid=pieces-{side}")
            self._error = ui.label().classes("text-negative").props("role=alert")
            self._answer = ui.column().classes("w-full").props(f"data-testid=answer-{side}")

    def show_model(self, opened: OpenedModel | None, name: str, reason: str) -> None:
        self._name.set_text(name)
        self._error.set_text(reason)
        self._facts.set_text(
            ""
            if opened is None
            else f"{size(opened.bytes)} of weights, {count(opened.parameters)} parameters, "
            f"{count(opened.vocabulary)} tokens in the vocabulary"
        )

    def show_pieces(
        self, pieces: Sequence[Piece], otherwise: frozenset[tuple[int, int]], direction: str
    ) -> None:
        own = sum(not each.is_special for each in pieces)
        self._total.set_text(f"{count(own)} tokens, {count(len(pieces))} with special ones" if pieces else "")
        self._pieces.set_content(render_pieces(pieces, otherwise, direction))
        self._answer.clear()

    def complain(self, reason: str) -> None:
        self._error.set_text(reason)

    def wait(self) -> None:
        self._answer.clear()
        with self._answer:
            ui.spinner()

    def show_answer(self, answer: Answer | None, reason: str) -> None:
        self._answer.clear()
        self._error.set_text(reason)
        if answer is None:
            return
        with self._answer:
            ui.label(_EXPLAINED[answer.head]).classes("text-subtitle2")
            for name, share in _rows(answer):
                with ui.row().classes("w-full justify-between no-wrap"):
                    ui.label(name)
                    ui.label(share)
            ui.label(f"{answer.milliseconds:.1f} ms, from text to answer, median").classes("text-caption")


def _rows(answer: Answer) -> list[tuple[str, str]]:
    if answer.vector is None:
        return [(name, f"{share:.1%}") for name, share in answer.rows]
    from polycompress.ui.answers import similarity

    alike = None if answer.second is None else similarity(answer.vector, answer.second)
    return [("cosine", "there is no second text" if alike is None else f"{alike:.4f}")]


async def _tried(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """What a function gives, in another thread, or why it gives nothing."""
    try:
        return await run.io_bound(function, *arguments), ""
    except PolycompressError as error:
        return None, str(error)
    except (OSError, RuntimeError, ValueError) as error:
        logger.warning("the page could not show something: %s", error)
        return None, str(error) or type(error).__name__
