"""Ids inside a document's post-processor: reading them and giving them new numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polycompress.errors import InputError
from polycompress.vocab.checks import as_id, as_list, as_mapping, as_text, wrong

_TYPES = ("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence")


def post_processor_ids(post: object, field: str = "post_processor") -> Iterator[tuple[int, str]]:
    """List the token ids that a post-processor writes into its output.

    Args:
        post: The ``post_processor`` value of a document (an object or null), which may be untrusted.
        field: How errors name it.

    Yields:
        (id, field) pairs.

    Raises:
        InputError: The type is unknown or a field is malformed.
    """
    if post is None:
        return
    body = as_mapping(post, field)
    kind = body.get("type")
    if kind == "Sequence":
        for index, part in enumerate(as_list(body.get("processors"), f"{field}.processors")):
            yield from post_processor_ids(part, f"{field}.processors[{index}]")
    elif kind == "TemplateProcessing":
        tokens = as_mapping(body.get("special_tokens"), f"{field}.special_tokens")
        for name, token in tokens.items():
            place = f"{field}.special_tokens[{name!r}]"
            for index, number in enumerate(as_list(as_mapping(token, place).get("ids"), f"{place}.ids")):
                yield as_id(number, f"{place}.ids[{index}]"), f"{place}.ids[{index}]"
    elif kind in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            pair = as_list(body.get(name), f"{field}.{name}")
            if len(pair) != 2:
                raise wrong(f"{field}.{name}", pair, "a pair [token, id]")
            as_text(pair[0], f"{field}.{name}[0]")
            yield as_id(pair[1], f"{field}.{name}[1]"), f"{field}.{name}[1]"
    elif kind != "ByteLevel":
        raise InputError(f"{field}.type is {kind!r}; supported types: {', '.join(_TYPES)}")


def renumber_post_processor(
    post: Mapping[str, Any] | None, new_id: Callable[[int], int]
) -> dict[str, Any] | None:
    """Give the ids of a checked post-processor their new numbers.

    Args:
        post: The ``post_processor`` value of a document.
        new_id: From old id to new id.

    Returns:
        A new value of the same shape; the old one is left as it was.
    """
    if post is None:
        return None
    kind = post["type"]
    if kind == "Sequence":
        return {**post, "processors": [renumber_post_processor(part, new_id) for part in post["processors"]]}
    if kind == "TemplateProcessing":
        tokens = {
            name: {**token, "ids": [new_id(number) for number in token["ids"]]}
            for name, token in post["special_tokens"].items()
        }
        return {**post, "special_tokens": tokens}
    if kind in ("BertProcessing", "RobertaProcessing"):
        return {**post, **{name: [post[name][0], new_id(post[name][1])] for name in ("sep", "cls")}}
    return dict(post)
