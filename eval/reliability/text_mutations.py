"""Damage to what people write: tables, CoNLL, TOML, YAML, codes of languages; see ``mutations.py``."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from eval.reliability.hostile_values import PATHS, draw, plain, short
from eval.reliability.mutations import LONGEST


def damage_lines(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Damage what lies between separators on lines: tables, CoNLL, TOML, YAML."""
    lines = content.decode("utf-8", "replace").split("\n")
    number = chance.randrange(len(lines))
    line = lines[number]
    value = plain(draw(chance))
    shown = value if isinstance(value, str) else json.dumps(value)
    match chance.randrange(8):
        case 0:
            done, lines[number:] = "the rest gone", []
        case 1:
            done, lines[number:number] = "twice", [line]
        case 2:
            lines[number] = shown
            done = f"is {short(shown)}"
        case 3:
            lines[number] = "\t" + line if chance.random() < 0.5 else "   " + line
            done = "indented"
        case 4:
            done, lines[number] = "gone", ""
        case 5:
            done, lines[number] = "a thousand times", "\n".join([line] * 1000)[:LONGEST]
        case _:
            done, lines[number] = _damage_field(chance, line, shown)
    return f"line {number + 1}: {done}", "\n".join(lines).encode("utf-8", "surrogatepass")


def damage_toml(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Give a key of a TOML file another value, or damage its lines."""
    lines = content.decode("utf-8", "replace").split("\n")
    keys = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    if not keys or chance.random() < 0.3:
        return damage_lines(chance, content)
    number = chance.choice(keys)
    key = lines[number].partition(" = ")[0]
    value = chance.choice(
        (
            plain(draw(chance)),
            *PATHS,
            "{language}/../../escaped.tsv",
            ["a", 1],
            {"a": "b"},
            1.5,
            True,
            "{x}",
            "{",
            "{language!r:>9}",
        )
    )
    lines[number] = f"{key} = {_toml(value)}"
    return f"{key} = {short(value)}", "\n".join(lines).encode("utf-8", "surrogatepass")


YAML_TRICKS: Final = (
    "!!python/object/apply:os.system ['touch escaped']", "!!python/object/new:os.system [touch escaped]", "&a [*a]",
    "!!binary x", "!!timestamp 9999-99-99", "2001-13-45", "{<<: [1]}", "{<<: *nowhere}", "!!set {a, a}", "!!float x",
    "!!int 0b2", "1:2:3:4", "0o8", "? [a]\n: b", "{[a]: b}", "- x", "%TAG ! x", "'", "\"\\x\"", "|9\n x", "!<tag:x> 1",
    "[" * 900 + "]" * 900, "[" * 30_000, "{a: " * 300 + "}" * 300, "&x {a: *x}", "~", "yes",
    ".nan", ".inf", "-.inf", "1e400",
)  # fmt: skip
LAUGHS: Final = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def damage_yaml(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Give a key of a YAML file another value, expand aliases without end, or damage its lines."""
    text = content.decode("utf-8", "replace")
    if chance.random() < 0.05:
        return "aliases of aliases", (LAUGHS + text + "\nz: *i\n").encode()
    lines = text.split("\n")
    keys = [number for number, line in enumerate(lines) if ": " in line or line.endswith(":")]
    if not keys or chance.random() < 0.25:
        return damage_lines(chance, content)
    number = chance.choice(keys)
    key = lines[number].partition(":")[0]
    if chance.random() < 0.4:
        shown = chance.choice(YAML_TRICKS)
    else:
        value = plain(draw(chance))
        shown = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    lines[number] = f"{key}: {shown}"
    return f"line {number + 1}: {key.strip()}: {short(shown)}", "\n".join(lines).encode(
        "utf-8", "surrogatepass"
    )


def damage_code(chance: random.Random, code: str) -> str:
    """Another spelling of a language's code, or none."""
    value = plain(draw(chance))
    options = (
        code.upper(), code[::-1], code + "-Cyrl", code + "_" + code, code * 1000, f"{code},{code}", f" {code} ",
        f"-{code}", code + "\u0301", code + "-x-private", f"{code}-Latn-Latn", f"{code}@x", code[:1], code + "=",
        "=" + code, "*", "all", "\udcff", f"../{code}", value if isinstance(value, str) else json.dumps(value),
        "zxx", "mul", "und", "qaa", "root",
        "".join(chance.choice("abcdefghijklmnopqrstuvwxyz-_") for _ in range(chance.randrange(1, 12))),
        "".join(chr(chance.randrange(1, 0xD800)) for _ in range(chance.randrange(1, 30))),
    )  # fmt: skip
    return chance.choice(options).replace("\0", "\x01")[
        :100_000
    ]  # an argument holds no zero, and has a longest length


def _damage_field(chance: random.Random, line: str, shown: str) -> tuple[str, str]:
    """Another value between two separators of a line."""
    separator = chance.choice(
        [each for each in ("\t", " ", ",", ": ", " = ", "-", "/") if each in line] or [" "]
    )
    fields = line.split(separator)
    fields[chance.randrange(len(fields))] = shown
    if chance.random() < 0.3:
        fields.append(shown)
    return f"a field is {short(shown)}", separator.join(fields)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if value is not None else "nil"
