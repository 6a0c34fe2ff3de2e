"""Values that no honest file holds, and text that is meant to break what reads or shows it."""

from __future__ import annotations

import random
from typing import Any, Final

MARKUP: Final = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>"
"""Shown in a page as it is, it would run."""


class Raw(str):
    """Text that goes into a JSON document as it is."""

    __slots__ = ()


NUMBERS: Final[tuple[Any, ...]] = (
    0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e-320,
    1e308, -1e308, Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("Infinity"), Raw("9" * 5000), Raw("0x10"), Raw("1_000"),
)  # fmt: skip
PATHS: Final = (
    "../escaped", "../../escaped", "../../../../../../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin", "..",
    ".", "/", "~/escaped", "file:///etc/passwd", "http://127.0.0.1:9/x", "a\\..\\..\\escaped", "con", "x" * 300,
    "out/../../escaped", "{0.__class__}", "$HOME/escaped", "nul\0l", "/proc/self/mem",
)  # fmt: skip
TEXTS: Final[tuple[Any, ...]] = (
    "", " ", "\n", "\0", "\x1b]0;evil\x07", "\u202egnp.exe", "\ufeff", "é", "e\u0301", "ﷺ" * 50, "👩‍👩‍👧‍👦",
    "\uffff", Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), "x" * 200_000, "%s%n%x", "{}", "{0}", "{{7*7}}", "{% raw",
    "${jndi:x}", "`id`", "$(touch escaped)", "; touch escaped", "[red]x[/red]", "[/]", "__class__", "__proto__",
    "constructor", "true", "null", "1", "-1", "1e9", "(a+)+$", "(", "[", "\\", MARKUP, "torch.load", "os.system",
)  # fmt: skip
OTHERS: Final[tuple[Any, ...]] = (
    None, True, False, [], {}, [[]], [{}], {"": None}, [None] * 50, list(range(2000)), {str(n): n for n in range(2000)},
    Raw("[" * 90 + "]" * 90), Raw("[" * 5000 + "]" * 5000), Raw('{"a":' * 3000 + "1" + "}" * 3000), Raw("[" * 200_000),
    Raw(""), Raw("undefined"), Raw("'x'"), Raw("/* */ 1"), Raw("1,"),
)  # fmt: skip
KINDS: Final = (NUMBERS, PATHS, TEXTS, OTHERS)


def draw(chance: random.Random) -> Any:
    """A hostile value; a ``Raw`` one is a piece of JSON that may be none."""
    return chance.choice(chance.choice(KINDS))


def plain(value: Any) -> Any:
    """What a ``Raw`` value stands for where JSON is not the format: its text."""
    return str(value) if isinstance(value, Raw) else value


def short(value: Any) -> str:
    """A value for a list of what was done."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text)} characters)"
