"""Model directories that have no ``tokenizer.json``, only a SentencePiece file.

Convertible, with transformers' own SentencePiece converter: T5 and mT5, XLM-R, XGLM, M2M100, DeBERTa-v2 and
v3 (Unigram or BPE). Everything else is refused, among it models with byte fallback (Llama, Gemma), with two
files (Marian) or whose tokenizer class changes the text first (ALBERT, CamemBERT). A conversion is also
refused if it segments one sample text in another way than sentencepiece itself.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.atomic import atomic_directory, check_apart
from polycompress.modeldir.axes_table import FAMILIES
from polycompress.modeldir.directory import copied_files, read_bytes, read_json, resolve_model, safe_file
from polycompress.modeldir.rawio import copy_file
from polycompress.modeldir.spm_layouts import LAYOUTS, PieceLayout
from polycompress.modeldir.tensors import open_checkpoint, write_sliced
from polycompress.modeldir.tokenizer_config import remap_tokenizer_config

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_MODEL_BYTES = 64 << 20
"""Cap of a SentencePiece file; the largest known ones have about 15 MB."""

SAMPLES = (
    "Der schnelle braune Fuchs springt über den faulen Hund; 1234,56 € kostet er.",
    "Straße, Müller-Lüdenscheidt und Übergrößenträger (z. B. im Jahr 1999)!",
    'The quick brown fox doesn\'t jump over 13 lazy dogs - "never", she said.',
    "Où est la bibliothèque ? L'été dernier, j'y étais à 8 h 30.",
    "El niño comió piñas; ¿cuántas? ¡Más de veinte!",
    "İstanbul'da ışıklar söndü, çocuklar güldü ve ağaçlar sustu.",
    "Москва является столицей России, её население - 13 млн человек.",
    "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας από το 1834.",
    "القاهرة هي عاصمة مصر وأكبر مدنها، ويسكنها الملايين.",
    "ירושלים היא עיר עתיקה, ורבים מבקרים בה.",
    "दिल्ली भारत की राजधानी है और यहाँ बहुत लोग रहते हैं।",
    "ঢাকা বাংলাদেশের রাজধানী।",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "北京是中华人民共和国的首都，人口超过两千万。",
    "東京は日本の首都で、とても大きな都市です。カタカナも書きます。",
    "서울은 대한민국의 수도이며 가장 큰 도시이다.",
    "Nairobi ni mji mkuu wa Kenya; Àwọn ọmọ Yorùbá sọ èdè wọn.",
    "Hà Nội là thủ đô của nước Việt Nam từ năm 1976.",
    "Two  spaces,   three spaces, and a tab\tin one line",
    " a leading space and a trailing one ",
    "e-mail: someone@example.org, https://example.org/a_b?c=d#e",
)
"""Texts on which every conversion is compared with sentencepiece."""


def ensure_tokenizer_json(root: Path) -> Path:
    """Find a model directory's ``tokenizer.json``.

    Args:
        root: The model directory.

    Returns:
        Its path.

    Raises:
        InputError: There is none; the message gives the command that makes one.
    """
    path = safe_file(root, "tokenizer.json")
    if path.is_file():
        return path
    found = _piece_files(root)
    layout = _layout(root) if found else None
    if layout is not None:
        raise InputError(
            f"{root}: has no tokenizer.json, only {', '.join(found)}. Make a directory that has one, checked "
            f"against sentencepiece, with: polycompress convert-tokenizer {shlex.quote(str(root))} --out NEW"
        )
    what = f", only {', '.join(found)}, which polycompress does not convert" if found else ""
    script = (
        "import sys; from transformers import AutoTokenizer; "
        "AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])"
    )
    raise InputError(
        f"{root}: has no tokenizer.json{what}. Where transformers has a fast tokenizer for this model, this "
        f'writes one: python -c "{script}" {shlex.quote(str(root))}'
    )


def convert_tokenizer(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    link: bool = False,
    texts: Iterable[str] = SAMPLES,
) -> Path:
    """Write a model directory like another, but with a ``tokenizer.json`` made from its SentencePiece file.

    Args:
        model: The source; see the design for how a model is named.
        out: The directory to be; it holds the weights and everything else that can be carried over.
        overwrite: Whether an existing ``out`` is replaced.
        link: Hard-link the weights instead of copying them.
        texts: Real text on which the two segmentations are compared.

    Returns:
        The new directory.

    Raises:
        InputError: There is nothing to convert, this kind cannot be converted, or the segmentations differ.
        MissingExtraError: transformers or sentencepiece is not installed.
    """
    root = resolve_model(model).path
    if safe_file(root, "tokenizer.json").is_file():
        raise InputError(
            f"{root}: already has a tokenizer.json. There is nothing to convert; use it as it is."
        )
    check_apart(Path(out), root)
    checkpoint = open_checkpoint(root)
    tokenizer = build_tokenizer(root, texts)
    config = read_json(root, "config.json")
    assert config is not None
    tokenizer_config, _ = remap_tokenizer_config(
        read_json(root, "tokenizer_config.json", required=False),
        json.loads(tokenizer.to_str()),
        model_config=config,
        special_tokens_map=read_json(root, "special_tokens_map.json", required=False),
    )
    with atomic_directory(Path(out), overwrite=overwrite) as building:
        write_sliced(checkpoint, building, {}, link=link)
        for name in ("config.json", "generation_config.json", *copied_files(root)):
            source = safe_file(root, name)
            if source.is_file():
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(source, building / name)
        (building / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        text = json.dumps(tokenizer_config, indent=2, ensure_ascii=False) + "\n"
        (building / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return Path(out)


def build_tokenizer(root: Path, texts: Iterable[str] = SAMPLES) -> Tokenizer:
    """Convert a directory's SentencePiece file, and compare the result with sentencepiece.

    Args:
        root: The model directory.
        texts: What to compare on.

    Returns:
        The tokenizer, with the special tokens and the template of the model's family.

    Raises:
        InputError: Several files or none, an unknown kind, or a text that segments differently.
        MissingExtraError: transformers or sentencepiece is not installed.
    """
    found = _piece_files(root)
    layout = _layout(root)
    if len(found) != 1 or layout is None:
        raise InputError(
            f"{root}: cannot be converted: it has {', '.join(found) or 'no SentencePiece file'}, and its "
            f"tokenizer is a {_class_name(root)}. Convertible are directories with one SentencePiece file of "
            f"a {', '.join(sorted(LAYOUTS))}."
        )
    try:
        import sentencepiece
        import transformers  # noqa: F401 - only to say which extra is missing
    except ImportError as error:
        raise MissingExtraError("Converting a SentencePiece tokenizer", "train") from error
    from polycompress.modeldir.spm_converter import convert_pieces, parse_model

    raw = read_bytes(root, found[0], max_bytes=MAX_MODEL_BYTES)
    proto = parse_model(raw, root / found[0])
    settings = read_json(root, "tokenizer_config.json", required=False) or {}
    vocabulary = read_json(root, "vocab.json") if layout.own_ids else None
    pieces = layout.arrange([(p.piece, p.score) for p in proto.pieces], settings, vocabulary, _rows(root))
    tokenizer: Tokenizer = convert_pieces(safe_file(root, found[0]), proto, pieces)
    processor = sentencepiece.SentencePieceProcessor(model_proto=raw)
    for text in texts:
        wanted = [pieces.ids[piece] for piece in processor.encode(text)]
        got = tokenizer.encode(text, add_special_tokens=False).ids
        if got != wanted:
            raise InputError(
                f"{root / found[0]}: the converted tokenizer segments {text!r} in another way than "
                f"sentencepiece ({_words(tokenizer, got)} instead of {_words(tokenizer, wanted)}). The "
                "conversion is refused; nothing was written."
            )
    return tokenizer


def _piece_files(root: Path) -> list[str]:
    names = [entry.name for entry in root.iterdir() if entry.suffix in (".model", ".spm")]
    return sorted(name for name in names if name != "tokenizer.model.v3" and safe_file(root, name).is_file())


def _class_name(root: Path) -> str:
    settings: Mapping[str, Any] = read_json(root, "tokenizer_config.json", required=False) or {}
    config: Mapping[str, Any] = read_json(root, "config.json", required=False) or {}
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    family = FAMILIES.get(str(config.get("model_type")))
    if isinstance(named, str):
        return named.removesuffix("Fast")
    return family.tokenizer if family is not None else "tokenizer of unknown class"


def _layout(root: Path) -> PieceLayout | None:
    return LAYOUTS.get(_class_name(root))


def _rows(root: Path) -> int | None:
    config: Mapping[str, Any] = read_json(root, "config.json", required=False) or {}
    size = config.get("vocab_size")
    return size if isinstance(size, int) else None


def _words(tokenizer: Tokenizer, ids: list[int]) -> str:
    return " ".join(str(tokenizer.id_to_token(number)) for number in ids)
