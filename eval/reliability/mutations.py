"""Damage to a file, drawn by a seeded generator: to its bytes, to its JSON, to a safetensors header.

Each function takes the generator and a file's content, and gives what was done, in words, and the new content.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any, Final

from eval.reliability.hostile_values import Raw, draw, plain, short

Mutation = Callable[[random.Random, bytes], tuple[str, bytes]]
_HOLE: Final = "\ue000hole {}\ue000"
LONGEST: Final = 4 << 20
"""Bytes of a damaged file, so that a thousand of them fit on a disk."""


def damage_bytes(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Flip, cut, repeat, insert, or encode anew, whatever the format."""
    data, length = bytearray(content), len(content)
    begin = chance.randrange(length + 1)
    end = min(length, begin + chance.choice((1, 2, 8, 64, 1000, length)))
    match chance.randrange(10):
        case 0:
            for _ in range(flips := chance.choice((1, 1, 2, 8, 64))):
                if data:
                    data[chance.randrange(length)] ^= 1 << chance.randrange(8)
            return f"{flips} bits flipped", bytes(data)
        case 1:
            return f"cut at byte {begin}", bytes(data[:begin])
        case 2:
            return f"bytes {begin} to {end} gone", bytes(data[:begin] + data[end:])
        case 3:
            times = chance.choice((2, 3, 1000))
            return f"bytes {begin} to {end} {times} times", bytes(
                data[:begin] + data[begin:end] * times + data[end:]
            )[:LONGEST]
        case 4:
            junk = chance.randbytes(chance.choice((1, 4, 100, 10_000)))
            return f"{len(junk)} random bytes at {begin}", bytes(data[:begin] + junk + data[begin:])
        case 5:
            return f"bytes {begin} to {end} zero", bytes(data[:begin] + bytes(end - begin) + data[end:])
        case 6:
            return "nothing left", b""
        case 7:
            return "a byte order mark", b"\xef\xbb\xbf" + content
        case 8:
            encoding = chance.choice(("utf-16", "utf-32", "utf-7", "cp037"))
            return f"encoded as {encoding}", content.decode("latin-1").encode(encoding, "replace")[:LONGEST]
        case _:
            other = chance.randrange(length + 1)
            low, high = sorted((begin, other))
            return f"swapped at {low} and {high}", bytes(data[high:] + data[low:high] + data[:low])


def damage_json(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Put a hostile value somewhere in a JSON document, rename or take away a key, or name one twice."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):  # damaged before
        return damage_bytes(chance, content)
    holes: list[str] = []
    done = _damage_value(chance, document, holes)
    text = json.dumps(document, ensure_ascii=chance.random() < 0.5)
    for number, hole in enumerate(holes):
        for shown in (json.dumps(_HOLE.format(number)), json.dumps(_HOLE.format(number), ensure_ascii=False)):
            text = text.replace(shown, hole)
    return done, text.encode("utf-8", "surrogatepass")


def damage_jsonl(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Damage one line of a file of JSON objects."""
    lines = content.splitlines()
    if not lines:
        return damage_bytes(chance, content)
    number = chance.randrange(len(lines))
    done, lines[number] = damage_json(chance, lines[number])
    return f"line {number + 1}: {done}", b"\n".join(lines) + b"\n"


def damage_header(chance: random.Random, content: bytes) -> tuple[str, bytes]:
    """Let the header of a safetensors file lie: of its length, or of what it says of a tensor."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 + length or chance.random() < 0.2:
        lie = chance.choice(
            (0, 1, 2, length - 1, length + 1, len(content), 10**8 + 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
        )
        return f"header length {lie}", lie.to_bytes(8, "little") + content[8:]
    try:
        header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    except (ValueError, RecursionError):  # damaged before
        return damage_bytes(chance, content)
    if not isinstance(header, dict) or set(header) <= {"__metadata__"}:
        return damage_bytes(chance, content)
    name = chance.choice([name for name in header if name != "__metadata__"])
    if chance.random() < 0.6:
        value = _tensor_lie(chance, header, name)
        done = f"{name} is {short(value)}"
        text = json.dumps({**header, name: value})
    else:
        done, damaged = damage_json(chance, json.dumps(header).encode())
        text = damaged.decode("utf-8", "surrogatepass")
    raw = text.encode("utf-8", "surrogatepass")
    return f"header: {done}", len(raw).to_bytes(8, "little") + raw + body


def _damage_value(chance: random.Random, document: Any, holes: list[str]) -> str:
    """Damage a parsed document in place; what was done."""
    place, key = _somewhere(chance, document)
    if place is None:
        return "nothing"
    match chance.randrange(12):
        case 0:
            value = place.pop(key)
            return f"{key!r} gone ({short(value)})"
        case 1 if isinstance(place, dict):
            place[name := str(plain(draw(chance)))] = place.pop(key)
            return f"{key!r} renamed to {short(name)}"
        case 2 if isinstance(place, dict):
            holes.append(f"1,{json.dumps(key)}:{json.dumps(place[key])[:LONGEST]}")
            place[key] = _HOLE.format(len(holes) - 1)
            return f"{key!r} twice"
        case 3:
            place[key] = [place[key]] if chance.random() < 0.5 else {"a": place[key]}
            return f"{key!r} wrapped"
        case 4:
            other, other_key = _somewhere(chance, document)
            if other is not None:
                place[key] = json.loads(json.dumps(other[other_key]))
            return f"{key!r} holds what {other_key!r} holds"
        case 5 if isinstance(place[key], bool | int | float):
            place[key] = place[key] * chance.choice((-1, 2, 1000, 10**9)) + chance.choice((-1, 0, 1))
            return f"{key!r} is {short(place[key])}"
        case _:
            value = draw(chance)
            if isinstance(value, Raw):
                holes.append(value)
                place[key] = _HOLE.format(len(holes) - 1)
            else:
                place[key] = value
            return f"{key!r} is {short(value)}"


def _somewhere(chance: random.Random, document: Any) -> tuple[Any, Any]:
    """A container in a document and one of its keys, each level as likely as the others."""
    found: list[tuple[Any, Any]] = []
    here = document
    while isinstance(here, dict | list) and here:
        key = chance.choice(list(here)) if isinstance(here, dict) else chance.randrange(len(here))
        found.append((here, key))
        here = here[key]
    return chance.choice(found) if found else (None, None)


def _tensor_lie(chance: random.Random, header: dict[str, Any], name: str) -> Any:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **header[name]}
    begin, end = 0, 4
    with contextlib.suppress(TypeError, ValueError):  # damaged before
        begin, end = map(int, entry["data_offsets"])
    lies: dict[str, tuple[Any, ...]] = {
        "dtype": ("F64", "BF16", "F8_E4M3", "BOOL", "F4", "f32", "", 5, None, "I64"),
        "shape": (
            [], [0], [-1], [2**62, 4], [2**63], [1] * 500, [entry["shape"]], [1.5], "2", [True],
            [3, *entry["shape"]] if isinstance(entry["shape"], list) else [3],
        ),
        "data_offsets": (
            [end, begin], [begin - 1, end - 1], [begin, end + 1], [0, 2**63], [-4, end], [2**64, 2**64], [begin],
            [0, 0], None, [begin, end, end], [float(begin), end], [str(begin), end], [begin + 4, end + 4],
        ),
    }  # fmt: skip
    field = chance.choice(list(lies))
    entry[field] = chance.choice(lies[field])
    return entry
