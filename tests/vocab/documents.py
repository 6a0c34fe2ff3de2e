"""Tokenizer documents made on the spot, random ones, and what must hold between a source and its trim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from polycompress.vocab.alphabet import BYTE_PIECES
from polycompress.vocab.document import pieces, validate_document
from polycompress.vocab.surgery import close_ids, dump_document, trim_document

Document = dict[str, Any]
ALPHABET = "abcd"
UNSEEN = "xé😀"


def document(model: Document, *added: str, **fields: Any) -> Document:
    """A whole document around a model; added tokens are special unless they begin with ``+``."""
    vocab = model["vocab"]
    known = vocab if isinstance(vocab, dict) else {entry[0]: index for index, entry in enumerate(vocab)}
    tokens, after = [], len(vocab)
    for text in added:
        content = text.removeprefix("+")
        number = known.get(content, after)
        after += content not in known
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        tokens.append({"id": number, "content": content, **flags, "special": not text.startswith("+")})
    empty = dict.fromkeys(
        ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    )
    return {"version": "1.0", **empty, "added_tokens": tokens, **fields, "model": model}


def unigram(*entries: tuple[str, float], unk_id: int | None = 0, byte_fallback: bool = False) -> Document:
    """A Unigram model."""
    vocab = [[piece, score] for piece, score in entries]
    return {"type": "Unigram", "unk_id": unk_id, "vocab": vocab, "byte_fallback": byte_fallback}


def bpe(vocab: Sequence[str], merges: Sequence[Any], **options: Any) -> Document:
    """A BPE model with ids in the order of the vocabulary."""
    defaults: Document = {
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    numbered = {token: number for number, token in enumerate(vocab)}
    return {"type": "BPE", **defaults, **options, "vocab": numbered, "merges": list(merges)}


def wordpiece(*vocab: str, unk_token: str = "[UNK]") -> Document:
    """A WordPiece model with ids in the order of the vocabulary."""
    numbered = {token: number for number, token in enumerate(vocab)}
    return {
        "type": "WordPiece",
        "unk_token": unk_token,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": numbered,
    }


def load(doc: Document) -> Tokenizer:
    """The library's tokenizer for a document, cutting and padding nothing."""
    tokenizer = Tokenizer.from_str(dump_document(doc).decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> list[int] | None:
    """Ids without special tokens, or None where the library refuses the text."""
    try:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)
    except Exception as error:
        assert "unk" in str(error).lower(), error
        return None


@dataclass(frozen=True)
class Report:
    """How many texts were compared, and how many of them had kept tokens only."""

    texts: int
    kept_only: int


def check_trim(doc: Document, chosen: Sequence[int] | NDArray[np.int64], texts: Sequence[str]) -> Report:
    """Trim to a closed selection and check every promise about these texts.

    Texts whose tokens are all kept get the same tokens and decode to the same; texts that the source can
    encode still can be; no id lies outside the new vocabulary.
    """
    before = json.dumps(doc)
    validate_document(doc)
    keep = close_ids(doc, np.array(chosen, dtype=np.int64))
    trimmed = trim_document(doc, keep)
    assert json.dumps(doc) == before
    validate_document(trimmed)
    assert set(chosen) <= set(keep.tolist())
    old_names, new_names = pieces(doc), pieces(trimmed)
    assert new_names == [old_names[old] for old in keep.tolist()]
    source, result = load(doc), load(trimmed)
    assert result.get_vocab_size() == len(keep)
    new_ids = {old: new for new, old in enumerate(keep.tolist())}
    kept_only = 0
    for text in texts:
        old = encode(source, text)
        if old is None:
            continue
        new = encode(result, text)
        assert new is not None, f"{text!r} cannot be encoded any more"
        assert max(new, default=0) < len(keep)
        if new_ids.keys() >= set(old):
            kept_only += 1
            assert new == [new_ids[number] for number in old], (text, source.encode(text).tokens)
            assert result.decode(new) == source.decode(old)
    return Report(len(texts), kept_only)


def check_identity(doc: Document) -> None:
    """Trimming to all ids changes nothing."""
    names = pieces(doc)
    everything = np.array([number for number, name in enumerate(names) if name is not None])
    trimmed = trim_document(doc, everything)
    if None not in names:
        assert trimmed == doc
        assert load(trimmed).to_str() == load(doc).to_str()


@st.composite
def texts(draw: st.DrawFn, doc: Document) -> list[str]:
    """Texts made of a document's pieces (so that long ones occur), and of any characters."""
    model = doc["model"]
    mark = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    bare = sorted(
        {(name or "").removeprefix(mark).removesuffix(suffix) for name in pieces(doc)} - {*BYTE_PIECES}
    )
    spelt = st.lists(st.sampled_from(bare), max_size=4).map("".join)
    anything = st.text(ALPHABET + ALPHABET + "▁#" + UNSEEN, max_size=12)
    return bare + draw(st.lists(st.one_of(spelt, spelt, anything), min_size=5, max_size=30))


@st.composite
def selections(draw: st.DrawFn, doc: Document) -> list[int]:
    """A random selection, from nothing to everything; small ones are common."""
    numbers = [number for number, name in enumerate(pieces(doc)) if name is not None]
    few = st.lists(st.sampled_from(numbers), unique=True, max_size=3)
    return draw(st.one_of(few, st.lists(st.sampled_from(numbers), unique=True)))


def all_words(alphabet: str, longest: int) -> list[str]:
    """Every word over an alphabet, up to a length."""
    return ["".join(word) for size in range(1, longest + 1) for word in product(alphabet, repeat=size)]


def words(alphabet: str = ALPHABET, longest: int = 4) -> st.SearchStrategy[str]:
    """Pieces over the small alphabet."""
    return st.text(alphabet, min_size=1, max_size=longest)


@st.composite
def unigram_documents(draw: st.DrawFn) -> Document:
    """Random Unigram tokenizers: ties, pieces listed twice, with and without unknown piece and byte
    fallback."""
    # Few different scores, so that paths of equal sum and pieces of equal score are common; one piece may be far
    # rarer than the others.
    scores = st.sampled_from([-1.0, -1.5, -2.0, -3.0, -18.0, -18.5])
    entries = draw(st.lists(st.tuples(words("abcd▁"), scores), min_size=2, max_size=14))
    entries += draw(st.sampled_from([[], [("▁▁", -60.0)]]))
    if draw(st.booleans()):
        entries += [(character, draw(scores)) for character in ALPHABET]
    fallback = draw(st.sampled_from(["none", "some", "all"]))
    if fallback != "none":
        entries += [(piece, -9.0) for piece in BYTE_PIECES[:: 1 if fallback == "all" else 2]]
    unk_id = None
    if draw(st.integers(0, 3)):
        unk_id = draw(st.integers(0, len(entries)))
        entries.insert(unk_id, ("<unk>", draw(st.sampled_from([0.0, -5.0, -40.0]))))
    return document(unigram(*entries, unk_id=unk_id, byte_fallback=fallback != "none"))


@st.composite
def bpe_documents(draw: st.DrawFn) -> Document:
    """Random BPE tokenizers: any merge order, several merges a token, every option of the model."""
    mark = draw(st.sampled_from(["", "", "", "#"]))
    suffix = draw(st.sampled_from(["", "", "", "$", "cd"]))
    atoms = draw(st.sets(st.sampled_from(ALPHABET + "▁"), min_size=2).map(sorted))
    forms = dict.fromkeys(form for a in atoms for form in (a, mark + a, a + suffix, mark + a + suffix))
    vocab = [form for form in forms if draw(st.integers(0, 9))] or ["a"]
    options: Document = {
        "continuing_subword_prefix": mark or draw(st.sampled_from([None, ""])),
        "end_of_word_suffix": suffix or None,
        "fuse_unk": draw(st.booleans()),
        "ignore_merges": draw(st.booleans()),
        "unk_token": draw(st.sampled_from([None, "<unk>", "?", "a"])),
        "byte_fallback": draw(st.booleans()),
    }
    if options["unk_token"] not in (None, *vocab) and draw(st.booleans()):
        vocab.append(options["unk_token"])
    if options["byte_fallback"]:
        vocab += BYTE_PIECES[:: draw(st.sampled_from([1, 1, 2]))]
    # Unknown and byte tokens take part in merges now and then.
    plain = [piece for piece in vocab if len(piece) < 4]
    parts = list(vocab) if draw(st.integers(0, 4)) == 0 or not plain else plain
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(1, 14))):
        left = draw(st.sampled_from(parts))
        right = draw(st.sampled_from([part for part in parts if part.startswith(mark)] or [""]))
        made = left + right[len(mark) :]
        if right and len(made) <= 24:
            merges.append((left, right))
            if made not in vocab:
                vocab.append(made)
                parts.append(made)
    # Every other way to split the tokens that were made, as converted SentencePiece models list them.
    if draw(st.booleans()):
        known = set(vocab)
        made_tokens = [left + right[len(mark) :] for left, right in merges]
        for token in dict.fromkeys(made_tokens):
            for cut in range(1, len(token)):
                if token[:cut] in known and mark + token[cut:] in known:
                    merges.append((token[:cut], mark + token[cut:]))
    merges = draw(st.permutations(merges)) if draw(st.booleans()) else merges
    vocab += [word for word in draw(st.lists(words(), max_size=3)) if word not in vocab]
    vocab = list(dict.fromkeys(draw(st.permutations(vocab)) if len(vocab) < 60 else vocab))
    written: list[Any] = [list(pair) for pair in merges]
    if draw(st.booleans()) and not any(" " in part for pair in merges for part in pair):
        written = [" ".join(pair) for pair in merges]
    return document(bpe(vocab, written, **options))


@st.composite
def wordpiece_documents(draw: st.DrawFn, *, complete: bool | None = None) -> Document:
    """Random WordPiece tokenizers; complete ones have a piece for each character of each piece."""
    bodies = draw(st.lists(st.tuples(st.booleans(), words("aabbcd", longest=4)), min_size=1, max_size=16))
    vocab = [("##" if continues else "") + body for continues, body in bodies]
    if draw(st.booleans()) if complete is None else complete:
        vocab += [form for character in ALPHABET for form in (character, "##" + character)]
    if complete is not None or draw(st.integers(0, 4)):
        vocab.append("[UNK]")
    # Words of # itself: a continuing piece then also matches, written out, at the start of a word.
    if draw(st.booleans()):
        vocab += ["#", "###"]
    return document(wordpiece(*draw(st.permutations(list(dict.fromkeys(vocab))))))
