"""The symbols that stand for single bytes in tokenizer vocabularies."""

from __future__ import annotations

from functools import cache

BYTE_PIECES: tuple[str, ...] = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""The 256 pieces of SentencePiece-style byte fallback, by byte value."""

_OUTSIDE = "\uffff"


def _is_printable(byte: int) -> bool:
    """Whether byte-level BPE shows this byte as the Latin-1 character of the same number."""
    return 0x21 <= byte <= 0x7E or (0xA1 <= byte <= 0xFF and byte != 0xAD)


@cache
def byte_symbols() -> tuple[str, ...]:
    """Give the 256 characters that byte-level tokenizers write for the bytes 0 to 255.

    Printable Latin-1 bytes stand for themselves; the others take the characters from U+0100 on, in byte order
    (so a space is ``Ġ``, a line end ``Ċ``).

    Returns:
        One character a byte value, all distinct.

    Reference:
        Radford et al., "Language Models are Unsupervised Multitask Learners", section 2.2 (GPT-2's byte-level
        BPE).

    Example:
        >>> byte_symbols()[0x20], byte_symbols()[0x41]
        ('Ġ', 'A')
    """
    symbols: list[str] = []
    shifted = 0
    for byte in range(256):
        if _is_printable(byte):
            symbols.append(chr(byte))
        else:
            symbols.append(chr(0x100 + shifted))
            shifted += 1
    return tuple(symbols)


@cache
def _to_latin1() -> dict[int, str]:
    """Map byte symbols to the Latin-1 character of their byte, other Latin-1 characters outside."""
    table = {code: _OUTSIDE for code in range(256)}
    table.update({ord(symbol): chr(byte) for byte, symbol in enumerate(byte_symbols())})
    return table


def symbol_bytes(piece: str) -> bytes | None:
    r"""Turn a byte-level piece into the bytes it stands for.

    Args:
        piece: A piece written in byte symbols.

    Returns:
        The bytes, or None where some character is not a byte symbol (an added token written plainly).

    Example:
        >>> symbol_bytes("ĠÃ¼")
        b' \xc3\xbc'
    """
    try:
        return piece.translate(_to_latin1()).encode("latin-1")
    except UnicodeEncodeError:
        return None
