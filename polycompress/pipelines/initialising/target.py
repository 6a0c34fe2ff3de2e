"""The tokenizer that a model gets: another one, or its own with new pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import CorpusSpec, Reading, TextReader, parse_corpora
from polycompress.embeddings.initialising.matching import Vocabulary
from polycompress.languages import Language, find_languages
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.sources import ModelSource, resolve_model
from polycompress.pipelines.initialising.request import NewTokens
from polycompress.pipelines.tokenizers.extension import find_extension
from polycompress.pipelines.tokenizers.figures import (
    LanguageChange,
    LanguageCost,
    language_changes,
    language_costs,
)
from polycompress.pipelines.tokenizers.opening import OpenTokenizer, made_tokenizer, open_tokenizer
from polycompress.pipelines.tokenizers.text import (
    corpus_languages,
    default_checks,
    read_checks,
    read_languages,
)
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.document import pieces
from polycompress.vocab.encoding import encode_ids
from polycompress.vocab.forms import byte_fallback_tokens, named_tokens, token_forms, token_roles

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """A tokenizer for the model, and what is known of the languages that it is for."""

    opened: OpenTokenizer
    root: Path
    """Where its settings lie: its own directory, or the model's where the model's was extended."""
    name: str
    """What to call it."""
    languages: tuple[Language, ...]
    """Those that have text, in the order asked for."""
    extended: bool
    """Whether it is the model's own with new pieces."""
    used: Mapping[str, NDArray[np.bool_]]
    """By language code, (V_t,) tokens that its text holds."""
    costs: tuple[LanguageCost, ...] = ()
    """Of the new languages' held-out text, where the tokenizer was extended."""
    changes: tuple[LanguageChange, ...] = ()
    """Of other languages, where the tokenizer was extended."""
    notes: tuple[str, ...] = ()

    @property
    def document(self) -> Mapping[str, Any]:
        """The state of its ``tokenizer.json``."""
        return self.opened.document

    @property
    def size(self) -> int:
        """One more than its highest id."""
        return self.opened.size


def new_target(
    source: ModelSource, own: OpenTokenizer, asked: NewTokens, progress: Progress | None = None
) -> Target:
    """Open the tokenizer asked for, or extend the model's own.

    Args:
        source: The model.
        own: Its tokenizer; opening it refuses what cannot be extended, and says what to do.
        asked: Where the new tokens come from.
        progress: Told of the work.

    Raises:
        InputError: There is no such tokenizer, or it or the text is damaged.
    """
    if asked.tokenizer is None:
        return _extended(source, own, asked, progress)
    found = resolve_model(asked.tokenizer)
    opened = open_tokenizer(found)
    languages = corpus_languages(asked.corpus) if asked.corpus else ()
    corpora = parse_corpora(asked.corpus, languages, reading=Reading(field=asked.field))
    used = {
        language.code: _used(
            opened.tokenizer, [spec for spec in corpora if spec.language == language], opened.size
        )
        for language in languages
    }
    return Target(
        opened=opened, root=found.path, name=found.name, languages=languages, extended=False, used=used
    )


def vocabulary(document: Mapping[str, Any], root: Path, rows: int) -> Vocabulary:
    """What matching needs to know of a tokenizer.

    Args:
        document: Its state.
        root: The directory with its settings, where special tokens are named.
        rows: Of the table; ids from the last token on have none.
    """
    spare = rows - len(forms := token_forms(document))
    return Vocabulary(
        forms=[*forms, *[None] * spare],
        names=named_tokens(document),
        roles=token_roles(
            document,
            read_json(root, "tokenizer_config.json", required=False),
            read_json(root, "special_tokens_map.json", required=False),
        ),
        fallback=np.pad(byte_fallback_tokens(document), (0, spare)),
    )


def keeps_ids(source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Whether a tokenizer has all tokens of another one, each at its id."""
    own, new = pieces(source), pieces(target)
    return new[: len(own)] == own


def _extended(
    source: ModelSource, opened: OpenTokenizer, asked: NewTokens, progress: Progress | None
) -> Target:
    languages = find_languages(",".join(asked.extend))
    corpora = parse_corpora(
        asked.corpus, languages, asked_with="--extend", reading=Reading(field=asked.field)
    )
    checks = read_checks(asked.check, default=default_checks(languages))
    texts = read_languages(languages, corpora)
    extended, _ = find_extension(opened, texts, asked.pieces, progress=progress)
    after = made_tokenizer(extended.document)
    if progress is not None:
        progress("comparing segmentations", 0, None)
    notes = []
    if len(extended.pieces) < asked.pieces:
        notes.append(
            f"{len(extended.pieces):,} new pieces instead of {asked.pieces:,}: no other saves a token in this text"
        )
    return Target(
        opened=after,
        root=source.path,
        name=source.name,
        languages=languages,
        extended=True,
        used={
            text.language.code: _held(
                after.tokenizer, (*text.training, *text.choosing, *text.held_out), after.size
            )
            for text in texts
        },
        costs=tuple(language_costs([(text.language, text.held_out) for text in texts], opened, after)),
        changes=tuple(language_changes(checks, opened, after)),
        notes=tuple(notes),
    )


def _used(tokenizer: Tokenizer, corpora: Sequence[CorpusSpec], size: int) -> NDArray[np.bool_]:
    held = np.zeros(size, dtype=np.bool_)
    for spec in corpora:
        held |= _held(tokenizer, TextReader(spec.files, spec.reading), size)
    return held


def _held(tokenizer: Tokenizer, texts: Any, size: int) -> NDArray[np.bool_]:
    """(V,) which tokens some texts hold."""
    held = np.zeros(size, dtype=np.bool_)
    for ids in encode_ids(tokenizer, texts):
        held[ids] = True
    return held
