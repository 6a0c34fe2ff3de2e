"""Rows of the files of a data directory: tables, sentences with a tag a line, and SQuAD's JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from polycompress.corpora.lines import decoded, record_lines
from polycompress.corpora.unpacking import open_regular, unpacked
from polycompress.errors import InputError
from polycompress.evaluation.sources.doors import Row

MAX_JSON: Final = 2**28
"""Characters of a JSON file at most; XQuAD's have half a million."""
_SHOWN: Final = 60


def tsv_rows(path: Path, columns: Mapping[str, str], only: tuple[str, str] | None = None) -> Iterator[Row]:
    """Rows of a table: the first line names the columns, tabs separate them, nothing is quoted.

    Args:
        path: Plain or compressed.
        columns: The column of each value.
        only: A column and what it must say for the row to count.

    Raises:
        InputError: A column is missing, or a line has more or fewer cells than the first.
    """
    lines = _lines(path)
    header = next(lines, (1, ""))[1].split("\t")
    wanted = {**columns, **({"": only[0]} if only else {})}
    missing = [name for name in dict.fromkeys(wanted.values()) if name not in header]
    if missing:
        raise InputError(
            f"{path}: line 1: there is no column {', '.join(map(repr, missing))} (found: {', '.join(header)})."
        )
    places = {value: header.index(column) for value, column in columns.items()}
    chosen = header.index(only[0]) if only else None
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(header):
            if not line:
                continue
            raise InputError(
                f"{path}: line {number}: {len(cells)} cells, but there are {len(header)} columns. Mend the line."
            )
        if only is None or chosen is None or cells[chosen] == only[1]:
            yield Row(f"{path}: line {number}", {value: cells[place] for value, place in places.items()})


def conll_rows(path: Path) -> Iterator[Row]:
    """Sentences: ``word<TAB>tag`` a line, an empty line behind each sentence.

    The place of a row is its first line; word ``i`` stands ``i`` lines below.

    Raises:
        InputError: A line is neither.
    """
    words: list[str] = []
    tags: list[str] = []
    number = 0
    for number, line in _lines(path):
        if not line.strip():
            if words:
                yield _sentence(path, number - len(words), words, tags)
                words, tags = [], []
            continue
        word, tab, tag = line.partition("\t")
        if not tab or not word.strip() or not tag or "\t" in tag:
            raise InputError(
                f"{path}: line {number}: {line[:_SHOWN]!r} is not a word, a tab and its tag. Mend the line."
            )
        words.append(word)
        tags.append(tag.strip())
    if words:
        yield _sentence(path, number + 1 - len(words), words, tags)


def squad_rows(path: Path) -> Iterator[Row]:
    """Questions of a file in the layout of SQuAD v1.1, paragraphs numbered from 0.

    Raises:
        InputError: It is no JSON, or a part of that layout is missing.
    """
    place = f"{path}: data"
    try:
        document = json.loads(_whole(path))
        number = 0
        for a, article in enumerate(document["data"]):
            for p, paragraph in enumerate(article["paragraphs"]):
                for q, question in enumerate(paragraph["qas"]):
                    place = f"{path}: data[{a}].paragraphs[{p}].qas[{q}]"
                    yield Row(place, {
                        "key": question["id"],
                        "paragraph": str(number),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": [(answer["text"], answer["answer_start"]) for answer in question["answers"]],
                    })  # fmt: skip
                number += 1
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: not the layout of SQuAD v1.1 ({type(error).__name__}: {error}). Mend the file."
        ) from error


def _sentence(path: Path, first: int, words: list[str], tags: list[str]) -> Row:
    values: dict[str, Any] = {"words": words, "tags": tags}
    return Row(f"{path}: line {first}", values)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without their ends."""
    number = 0
    with io.BufferedReader(open_regular(path)) as file:
        for lines in record_lines(decoded(unpacked(file, path), path), path):
            for line in lines:
                number += 1
                yield number, line.removesuffix("\r")


def _whole(path: Path) -> str:
    pieces: list[str] = []
    length = 0
    with io.BufferedReader(open_regular(path)) as file:
        for piece in decoded(unpacked(file, path), path):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_JSON:
                raise InputError(f"{path}: more than {MAX_JSON} characters. Split the file.")
    return "".join(pieces)
