"""What must hold for any tokenizer, any selection and any text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vocab.documents import (
    bpe_documents,
    check_identity,
    check_trim,
    selections,
    texts,
    unigram_documents,
    wordpiece_documents,
)

ANY_DOCUMENT = st.one_of(unigram_documents(), bpe_documents(), wordpiece_documents())


@pytest.mark.parametrize("kind", [unigram_documents, bpe_documents, wordpiece_documents])
def test_kept_texts_keep_their_tokens_and_nothing_starts_to_fail(kind: Any) -> None:
    @settings(max_examples=settings().max_examples * 4)
    @given(doc=kind(), data=st.data())
    def check(doc: dict[str, Any], data: st.DataObject) -> None:
        check_trim(doc, data.draw(selections(doc)), data.draw(texts(doc)))

    check()


@given(doc=ANY_DOCUMENT)
def test_keeping_everything_is_the_identity(doc: dict[str, Any]) -> None:
    check_identity(doc)
