"""Read a YAML file with the place of everything in it, so that a fault can be found by its line.

Read is what JSON could hold as well: mappings, lists, texts, numbers, true and false. No anchors, no tags, no dates;
``1e-4`` is a number and ``no`` a text (Norwegian), as YAML 1.2 has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from polycompress.errors import InputError
from polycompress.pipelines.distilling.recipe_table import Where

MAX_BYTES: Final = 2**18
"""Of a file."""
MAX_DEPTH: Final = 32
_FLOAT: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")
_WHOLE: Final = re.compile(r"[-+]?(0|[1-9]\d{0,17})")
_DECIMAL: Final = re.compile(r"[-+]?(\d+\.\d*|\.\d+)")
_TAGS: Final[Mapping[type, tuple[str, ...]]] = {
    yaml.MappingNode: ("map",),
    yaml.SequenceNode: ("seq",),
    yaml.ScalarNode: ("null", "bool", "int", "float", "str", "timestamp", "value", "merge"),
}


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and where."""

    values: dict[str, Any]
    lines: dict[Where, str]
    """By path, ``line 12`` or the option that set it."""


def read_document(path: Path) -> Document:
    """Read a file.

    Raises:
        InputError: It is missing, too large, or not such YAML; the line is named.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check its name.") from error
    if content is None:
        raise InputError(f"{path}: more than {MAX_BYTES} bytes; a recipe is a page long.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    node = _compose(text, str(path))
    lines: dict[Where, str] = {}
    faults: list[str] = []
    values = _value(node, (), lines, faults, None) if node is not None else {}
    if not isinstance(values, dict):
        faults.append("line 1: is no mapping: a recipe has fields such as stages")
    if faults:
        raise InputError(
            f"{path}: {'1 fault' if len(faults) == 1 else f'{len(faults)} faults'}:\n  " + "\n  ".join(faults)
        )
    return Document(values, lines)


def set_values(document: Document, settings: Sequence[str]) -> None:
    """Put values in, over those that are there.

    Args:
        document: Is changed.
        settings: ``field.field=VALUE``. Entries of a list are named by their ``name``, or numbered from 1; a value is
            written as in the file.

    Raises:
        InputError: One is written otherwise, or leads nowhere.
    """
    for each in settings:
        name, equals, text = each.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {each!r}: write FIELD=VALUE, such as student.layers=4")
        option = f"--set {name.strip()}"
        node = _compose(text, option)
        faults: list[str] = []
        lines: dict[Where, str] = {}
        value = _value(node, (), lines, faults, option) if node is not None else None
        if faults:
            raise InputError(f"{'; '.join(faults)}.")
        _replace(document, name.strip(), value, option, lines)


def put_fields(document: Document, fields: Mapping[str, tuple[Any, str]]) -> None:
    """Put values in, over those that are there.

    Args:
        document: Is changed.
        fields: By ``field.field``, the value as the file would have it, and the option that it was given with.

    Raises:
        InputError: One leads nowhere.
    """
    for name, (value, option) in fields.items():
        _replace(document, name, value, option, ())


def _replace(document: Document, name: str, value: Any, option: str, below: Iterable[Where]) -> None:
    """Put one value in the place of another, with the lines below it."""
    path = _put(document.values, name.split("."), value, option)
    for old in [known for known in document.lines if known[: len(path)] == path]:
        del document.lines[old]
    document.lines.update({path + each: option for each in below})
    document.lines[path] = option


def _put(values: dict[str, Any], names: Sequence[str], value: Any, option: str) -> Where:
    """Put one value in; its path."""
    here: Any = values
    path: list[str | int] = []
    for depth, name in enumerate(names):
        is_last = depth == len(names) - 1
        key: str | int = name
        if isinstance(here, list):
            key = _entry(here, name, option)
        elif not isinstance(here, dict):
            raise InputError(f"{option}: {'.'.join(names[:depth])} has no fields.")
        elif not is_last and here.get(name) is None:
            here[name] = {}
        path.append(key)
        if is_last:
            here[key] = value
        else:
            here = here[key]
    return tuple(path)


def _entry(entries: list[Any], name: str, option: str) -> int:
    """The place of a list's entry by its name, or its number from 1."""
    known = [each.get("name") if isinstance(each, dict) else each for each in entries]
    if name in known:
        return known.index(name)
    if name.isascii() and name.isdigit() and 1 <= int(name) <= len(entries):
        return int(name) - 1
    shown = ", ".join(str(each) for each in known)
    raise InputError(f"{option}: there is no {name!r} among {shown}; or give a number from 1.")


def _line(event: yaml.Event) -> str:
    mark = event.start_mark
    return f"line {mark.line + 1}" if mark is not None else "a line"


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError(
                    f"{where}: {_line(event)}: lists and mappings are nested more than {MAX_DEPTH} deep."
                )
            if isinstance(event, yaml.AliasEvent):
                raise InputError(
                    f"{where}: {_line(event)}: is an alias (*{event.anchor}): write what is meant instead."
                )
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise InputError(f"{where}: {place}not YAML ({error.problem}). Mend it.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{where}: not YAML that can be read ({error}). Mend it.") from error


def _value(
    node: yaml.Node, path: Where, lines: dict[Where, str], faults: list[str], option: str | None
) -> Any:
    place = option or f"line {node.start_mark.line + 1}"
    lines.setdefault(path, place)
    tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
    if tag not in _TAGS[type(node)]:
        faults.append(f"{place}: the tag {tag[:60]!r} is not read: leave it out")
        return None
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, below in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            line = option or f"line {key.start_mark.line + 1}"
            if not name or name in found:
                faults.append(f"{line}: {name!r} stands twice" if name else f"{line}: a field has no name")
                continue
            lines[(*path, name)] = line
            found[name] = _value(below, (*path, name), lines, faults, option)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(below, (*path, number), lines, faults, option) for number, below in enumerate(node.value)
        ]
    return _scalar(str(node.value), tag, is_plain=getattr(node, "style", None) is None)


def _scalar(text: str, tag: str, *, is_plain: bool) -> Any:
    if not is_plain:
        return text
    if tag == "null":
        return None
    if text in ("true", "false", "True", "False"):
        return text in ("true", "True")
    if _WHOLE.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or _DECIMAL.fullmatch(text):
        return float(text)
    return text
