"""transformers' SentencePiece converter, told which vocabulary to use. Needs the extra ``train``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.spm_layouts import Pieces

_UNIGRAM, _BPE = 1, 2
_NORMAL = 1  # the type of an ordinary piece


def parse_model(raw: bytes, path: Path) -> Any:
    """Parse a SentencePiece file.

    Args:
        raw: Its bytes.
        path: Its name, for messages.

    Returns:
        The parsed ``ModelProto``.

    Raises:
        InputError: It is no such file, or of a kind that cannot be converted.
    """
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    try:
        proto.ParseFromString(raw)
    except Exception as error:
        raise InputError(f"{path}: is not a SentencePiece file ({error}). Fetch it again.") from error
    spec = proto.trainer_spec
    if not proto.pieces or spec.model_type not in (_UNIGRAM, _BPE):
        raise InputError(f"{path}: holds no Unigram or BPE model of SentencePiece; not convertible.")
    if spec.byte_fallback:
        raise InputError(f"{path}: uses byte fallback, which the converter leaves out; not convertible.")
    if not proto.normalizer_spec.remove_extra_whitespaces:
        raise InputError(f"{path}: keeps repeated spaces, which the converter merges; not convertible.")
    return proto


def convert_pieces(path: Path, proto: Any, pieces: Pieces) -> Any:
    """Build the tokenizer of a SentencePiece file.

    The normaliser, pre-tokeniser and decoder are those of transformers' converter; vocabulary, special tokens
    and template are given.

    Args:
        path: The SentencePiece file.
        proto: Its parsed content.
        pieces: The vocabulary and the special tokens.

    Returns:
        A ``tokenizers.Tokenizer``.

    Raises:
        InputError: A piece occurs twice.
    """
    from tokenizers import AddedToken, Tokenizer, models, processors
    from transformers.convert_slow_tokenizer import SpmConverter, generate_merges

    twice = [piece for piece, times in Counter(p for p, _ in pieces.vocabulary).items() if times > 1]
    if twice:
        raise InputError(f"{path}: its vocabulary would hold {twice[0]!r} twice; not convertible.")

    class Converter(SpmConverter):  # type: ignore[misc]  # transformers is not typed
        def vocab(self, proto: Any) -> list[tuple[str, float]]:
            return pieces.vocabulary

        def unk_id(self, proto: Any) -> int:
            return pieces.unknown

        def tokenizer(self, proto: Any) -> Any:
            unigram = proto.trainer_spec.model_type == _UNIGRAM
            built = super().tokenizer(proto) if unigram else self.bpe(proto)
            built.add_special_tokens(
                [
                    AddedToken(token, special=True, normalized=False, lstrip=token in pieces.strips_before)
                    for token in pieces.special
                ]
            )
            words = {word.split(":")[0] for word in pieces.pair.split() if not word.startswith("$")}
            built.post_processor = processors.TemplateProcessing(
                single=pieces.single,
                pair=pieces.pair,
                special_tokens=[(word, built.token_to_id(word)) for word in sorted(words)],
            )
            return built

        def bpe(self, proto: Any) -> Any:
            """The library's branch for BPE, which version 5.23 calls with wrong arguments."""
            ids = {piece: number for number, (piece, _) in enumerate(pieces.vocabulary)}
            scores = {p.piece: p.score for p in proto.pieces if p.type == _NORMAL and p.piece in ids}
            merges = generate_merges({piece: ids[piece] for piece in scores}, scores)
            unknown = pieces.vocabulary[pieces.unknown][0]
            return Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token=unknown, fuse_unk=True))

    return Converter(SimpleNamespace(vocab_file=str(path))).converted()
