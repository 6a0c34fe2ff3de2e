"""Where a line without spaces may be cut: between letters and marks.

The patterns of byte-level BPE tokenizers end a run of letters at a mark; GPT-2's also ends one of marks at a letter. In
scripts that write vowels and tones as marks and no spaces between words, they so cut a line into short parts that come
again. Python and the tokenizers library may know different versions of Unicode; so only those characters count whose
class has not changed since version 3.2, and which no normal form changes, or joins to another one.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Final

import numpy as np
from numpy.typing import NDArray

LETTER: Final = 1
MARK: Final = 2
BLOCKS: Final = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
"""Thai and Lao, Burmese, Khmer."""
_FORMS: Final = ("NFC", "NFD", "NFKC", "NFKD")
_BEGIN: Final = BLOCKS[0][0]


@functools.cache
def kinds() -> NDArray[np.uint8]:
    """(n,) ``LETTER``, ``MARK``, or 0 where none is certain, for the characters from ``BLOCKS`` on; 0 for the last."""
    table = np.zeros(BLOCKS[-1][1] - _BEGIN + 2, dtype=np.uint8)
    characters = [chr(code) for begin, end in BLOCKS for code in range(begin, end + 1)]
    made = (unicodedata.decomposition(character) for character in characters)
    composed = set(" ".join(pair for pair in made if not pair.startswith("<")).split())
    for character in characters:
        now, then = unicodedata.category(character), unicodedata.ucd_3_2_0.category(character)
        unchanged = all(unicodedata.normalize(form, character) == character for form in _FORMS)
        if now == then and unchanged and f"{ord(character):04X}" not in composed:
            table[ord(character) - _BEGIN] = {"Lo": LETTER, "Mn": MARK, "Mc": MARK}.get(now, 0)
    return table


def kinds_in(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """(n,) the kind of each of n characters; a character below the blocks wraps to a number beyond them."""
    table = kinds()
    found: NDArray[np.uint8] = table[np.minimum(codes - np.uint32(_BEGIN), len(table) - 1)]
    return found


def codes_of(text: str) -> NDArray[np.uint32]:
    """(n,) the code points of a text of n characters."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def part(text: str, *, before_letters: bool) -> str:
    """Cut lines before marks that follow a letter.

    Args:
        text: Lines with line feeds between them.
        before_letters: Whether they are also cut before letters that follow a mark.

    Returns:
        The same with a line feed wherever a line is cut.
    """
    codes = codes_of(text)
    found = kinds_in(codes)
    left, right = found[:-1], found[1:]
    cuts = (left == LETTER) & (right == MARK)
    if before_letters:
        cuts |= (left == MARK) & (right == LETTER)
    parted = np.insert(codes, np.flatnonzero(cuts) + 1, ord("\n"))
    return parted.tobytes().decode("utf-32-le", "surrogatepass")
