from __future__ import annotations

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.training.batching import Batching
from polycompress.training.items import Item, Items
from polycompress.training.loader import BatchLoader
from polycompress.training.mixing import LanguageMixer


def item(size: int, label: int = 0, name: str = "", first: int = 5) -> Item:
    return Item(np.arange(first, first + size, dtype=np.int32), np.array([label]), None, name)


ITEMS = Items([("deu-Latn", [item(3, 1, "a"), item(5, 2, "b")]), ("swh-Latn", [item(4, 0, "c")])])


def test_numbers_and_sizes() -> None:
    assert len(ITEMS) == 3
    assert (ITEMS.counts, ITEMS.tokens, ITEMS.longest) == ((2, 1), (8, 4), 5)
    assert ITEMS.lengths(0, np.array([1, 0])).tolist() == [5, 3]
    assert ITEMS.lengths(1, np.array([0])).tolist() == [4]
    assert ITEMS.get(1, 0, epoch=2).text_id == 2
    assert ITEMS.get(1, 0, epoch=2).language == "swh-Latn"
    assert ITEMS[1].labels.tolist() == [2]
    assert [ITEMS.locate(number) for number in range(3)] == ["deu-Latn, a", "deu-Latn, b", "swh-Latn, c"]


def test_every_item_comes_once_an_epoch() -> None:
    loader = BatchLoader(ITEMS, LanguageMixer(ITEMS, max_epochs=1), Batching(token_budget=10), pad_id=1)
    batches = list(loader)
    assert sorted(number for batch in batches for number in batch.text_ids) == [0, 1, 2]
    assert loader.tokens == {"deu-Latn": 8, "swh-Latn": 4}


def test_the_fingerprint_sees_tokens_labels_and_segments() -> None:
    plain = Items([("deu-Latn", [item(3)])]).fingerprint()
    others = [
        item(3, label=1),
        item(3, first=6),
        Item(np.arange(5, 8, dtype=np.int32), np.array([0]), np.array([0, 0, 1])),
    ]
    found = {Items([("deu-Latn", [other])]).fingerprint()["deu-Latn"] for other in others}
    assert len(found | set(plain.values())) == 4
    assert Items([("deu-Latn", [item(3, name="x")])]).fingerprint() == plain


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"There is nothing to train on\. Give at least one language"):
        Items([])
    with pytest.raises(InputError, match="There is nothing to train on in swh-Latn"):
        Items([("deu-Latn", [item(2)]), ("swh-Latn", [])])
    ITEMS.check_table(10)
    with pytest.raises(InputError, match=r"deu-Latn, b has the token id 9, but the model's table has 9 rows"):
        ITEMS.check_table(9)
