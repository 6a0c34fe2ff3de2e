"""Examples as token ids: texts and pairs, sentences in words, questions about a context.

Special tokens are those of the tokenizer's own post-processor. What is longer than the model takes is cut (texts) or
read through overlapping windows (words, contexts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from polycompress.errors import InputError
from polycompress.evaluation.records import QuestionExample, TextExample, WordsExample
from polycompress.evaluation.tokenizer import context_spans, open_tokenizer, token_words
from polycompress.evaluation.windows import NOWHERE, own_word_starts
from polycompress.vocab.encoding import segmenting

IGNORED: Final = -100
"""Label of what a loss leaves out."""
LONGEST_STRIDE: Final = 128
"""Tokens that neighbouring windows share at most, where nothing else is asked for; of BERT's script for SQuAD."""
WORD_BEGINNINGS: Final = ("\u2581", "\u0120")
"""Pieces that are nothing but the mark of a word's beginning, of SentencePiece and of byte-level BPE."""
_AT_ONCE: Final = 1024
_PROBE: Final = ("a b", ["a", "b"], ["a", " b"])


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What goes through the model in one row: an example, or a window of it."""

    example: int
    """Place of the example among those that were encoded together."""
    ids: NDArray[np.int32]
    """(T,) special tokens included; at least one."""
    type_ids: NDArray[np.int32] | None = None
    """(T,) segments, where the model and the tokenizer tell them apart."""
    word_starts: NDArray[np.int32] | None = None
    """(T,) of words: number of the word whose first token stands here, else -1; the first with text, if it has any.
    Over the windows of an example every word that has a token occurs once."""
    offsets: NDArray[np.int32] | None = None
    """(T, 2) of questions: begin and end in characters of the context, without white space at the beginning; -1 where
    the token is not of the context."""

    def __len__(self) -> int:
        """T."""
        return len(self.ids)

    def word_labels(self, tags: Sequence[int]) -> NDArray[np.int64]:
        """(T,) the tag of the word that begins at each token, else -100."""
        if self.word_starts is None:
            raise ValueError("only what encode_words gives has words")
        of_words = np.append(np.asarray(tags, dtype=np.int64), IGNORED)  # NOWHERE is -1: the last
        return of_words[self.word_starts]


def joined_text(example: TextExample) -> str:
    """A text, or both of a pair with a line's end between them."""
    return example.text if example.second is None else f"{example.text}\n{example.second}"


class TaskEncoder:
    """A tokenizer that turns examples into what a model takes. Not for several threads at once."""

    def __init__(
        self,
        tokenizer_json: bytes | str | Tokenizer,
        *,
        max_length: int,
        pad_id: int = 0,
        use_type_ids: bool = False,
    ) -> None:
        """Take a tokenizer.

        Args:
            tokenizer_json: Content of ``tokenizer.json``, or the tokenizer made of it, whose padding and truncation
                are set anew.
            max_length: Tokens of a row at most, special ones included.
            pad_id: Id of padding; stands alone where a text gives no token at all.
            use_type_ids: Whether the model tells segments apart.

        Raises:
            InputError: The tokenizer cannot be read, or ``max_length`` leaves no room for text.
        """
        self.tokenizer = open_tokenizer(tokenizer_json)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.max_length = max_length
        self.pad_id = pad_id
        self._single = self.tokenizer.num_special_tokens_to_add(is_pair=False)
        self._pair = self.tokenizer.num_special_tokens_to_add(is_pair=True)
        least = self._pair + 8
        if max_length < least:
            raise InputError(
                f"max_length is {max_length}, which leaves no room for text beside {self._pair} special tokens: give "
                f"at least {least}."
            )
        with segmenting():
            self._segments = use_type_ids and any(self.tokenizer.encode("a", "b").type_ids)
            text, words, led = _PROBE
            plain = self.tokenizer.encode(text).ids
            apart, with_space = (
                self.tokenizer.encode(each, is_pretokenized=True).ids for each in (words, led)
            )
        self._bare = [
            token for token in map(self.tokenizer.token_to_id, WORD_BEGINNINGS) if token is not None
        ]
        # Byte-level tokenizers write the space at the beginning of a word; others begin words by themselves.
        self._lead = " " if plain != apart and plain == with_space else ""

    def encode_strings(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts alone, cut to ``max_length``."""
        return self._encode_inputs(list(texts))

    def encode_texts(self, examples: Sequence[TextExample]) -> list[Encoded]:
        """Texts or pairs; of a pair that is too long, the longer text is cut.

        Returns:
            One for each example, in their order.

        Raises:
            InputError: The tokenizer refuses a text.
        """
        return self._encode_inputs(
            [each.text if each.second is None else (each.text, each.second) for each in examples]
        )

    def text_offsets(self, examples: Sequence[TextExample]) -> list[NDArray[np.int64]]:
        """Where the tokens of ``encode_texts`` lie in ``joined_text``.

        Returns:
            (T, 2) of each example: begin and end in characters; both 0 for special tokens.

        Raises:
            InputError: The tokenizer refuses a text.
        """
        self.tokenizer.enable_truncation(self.max_length, strategy="longest_first")
        inputs = [each.text if each.second is None else (each.text, each.second) for each in examples]
        found = []
        for example, encoding in zip(examples, self._encodings(inputs), strict=True):
            places = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            second = np.array([sequence == 1 for sequence in encoding.sequence_ids], dtype=bool)
            none = np.array([sequence is None for sequence in encoding.sequence_ids], dtype=bool)
            places[second] += len(example.text) + 1
            places[none] = 0
            found.append(places if len(places) else np.zeros((1, 2), dtype=np.int64))
        return found

    def encode_words(self, examples: Sequence[WordsExample], stride: int | None = None) -> list[Encoded]:
        """Sentences in words; a sentence that is too long gives several windows.

        Args:
            examples: The sentences.
            stride: Tokens that neighbouring windows share; by default a quarter of a window, at most 128.

        Returns:
            In the order of the examples, their windows in order; at least one of each example.

        Raises:
            InputError: The tokenizer refuses a word, does not say which word a token belongs to, or ``stride`` is
                more than half a window.
        """
        room = self.max_length - self._single
        shared = self._stride(stride, room)
        self.tokenizer.enable_truncation(self.max_length, stride=shared)
        found = []
        words = [self._led(each.words) for each in examples]
        for number, encoding in enumerate(self._encodings(words, is_pretokenized=True)):
            windows = [encoding, *encoding.overflowing]
            places = [token_words(window) for window in windows]
            if all((place < 0).all() for place in places) and len(encoding.ids) > self._single:
                raise InputError(
                    "tokenizer.json: the tokenizer does not say which word a token belongs to, which tagging needs. "
                    "Use a model with a tokenizer of the tokenizers library."
                )
            bare = [np.isin(window.ids, self._bare) for window in windows]
            for at, (window, starts) in enumerate(
                zip(windows, own_word_starts(places, room - shared, bare), strict=True)
            ):
                if at == 0 or (starts >= 0).any():
                    found.append(self._encoded(number, window, word_starts=starts))
        return found

    def encode_questions(
        self, examples: Sequence[QuestionExample], stride: int | None = None
    ) -> list[Encoded]:
        """Questions, each with its context; a context that is too long gives several windows.

        A question is cut to a quarter of a window.

        Args:
            examples: The questions.
            stride: Tokens of the context that neighbouring windows share; by default a quarter of a window, at most
                128.

        Returns:
            In the order of the examples, their windows in order; at least one of each example.

        Raises:
            InputError: The tokenizer refuses a text, cannot say where in a text its tokens stand, or ``stride`` is
                more than half a window.
        """
        room = self.max_length - self._pair
        questions = self._cut([each.question for each in examples], room // 4)
        self.tokenizer.enable_truncation(
            self.max_length, stride=self._stride(stride, room), strategy="only_second"
        )
        pairs = [(question, each.context) for question, each in zip(questions, examples, strict=True)]
        found = []
        for number, encoding in enumerate(self._encodings(pairs)):
            context = examples[number].context
            for window in (encoding, *encoding.overflowing):
                found.append(self._encoded(number, window, offsets=context_spans(window, context)))
        return found

    def _encode_inputs(self, inputs: list[Any]) -> list[Encoded]:
        self.tokenizer.enable_truncation(self.max_length, strategy="longest_first")
        encodings = self._encodings(inputs, fast=not self._segments)
        return [self._encoded(number, encoding) for number, encoding in enumerate(encodings)]

    def _encodings(self, inputs: list[Any], *, fast: bool = False, **options: Any) -> Iterator[Encoding]:
        """Encode on all cores; ``fast`` leaves out words, offsets and segments."""
        encode = self.tokenizer.encode_batch_fast if fast else self.tokenizer.encode_batch
        for begin in range(0, len(inputs), _AT_ONCE):
            with segmenting():
                encodings = encode(inputs[begin : begin + _AT_ONCE], **options)
            yield from encodings

    def _encoded(
        self,
        number: int,
        encoding: Encoding,
        *,
        word_starts: NDArray[np.int32] | None = None,
        offsets: NDArray[np.int32] | None = None,
    ) -> Encoded:
        ids = np.array(encoding.ids, dtype=np.int32)
        types = np.array(encoding.type_ids, dtype=np.int32) if self._segments else None
        if not len(ids):
            ids = np.array([self.pad_id], dtype=np.int32)
            types = None if types is None else np.zeros(1, dtype=np.int32)
            word_starts = None if word_starts is None else np.full(1, NOWHERE, dtype=np.int32)
            offsets = None if offsets is None else np.full((1, 2), NOWHERE, dtype=np.int32)
        return Encoded(number, ids, types, word_starts, offsets)

    def _led(self, words: Sequence[str]) -> list[str]:
        return [*words[:1], *(self._lead + word for word in words[1:])] if self._lead else list(words)

    def _stride(self, asked: int | None, room: int) -> int:
        if asked is None:
            return min(LONGEST_STRIDE, room // 4)
        if not 0 <= asked <= room // 2:
            raise InputError(
                f"stride is {asked}, but windows have {room} tokens for text: give at least 0 and at most "
                f"{room // 2}, half a window."
            )
        return asked

    def _cut(self, texts: Sequence[str], limit: int) -> list[str]:
        """Texts without what follows their first ``limit`` tokens."""
        self.tokenizer.no_truncation()
        found = []
        for text, encoding in zip(texts, self._encodings(list(texts), add_special_tokens=False), strict=True):
            long = len(encoding.ids) > limit
            found.append(text[: encoding.offsets[limit - 1][1]] if long else text)
        return found
