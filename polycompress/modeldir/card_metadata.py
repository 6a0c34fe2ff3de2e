"""The YAML front matter of every model card: what the hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from polycompress.modeldir.figures import UNKNOWN, language_entries, part_of

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def card_metadata(
    manifest: Mapping[str, Any], *, library: str, tags: Sequence[str], task: str | None
) -> dict[str, Any]:
    """The fields of a card.

    Args:
        manifest: The facts. What does not look like a licence or a name of the hub is not repeated.
        library: That loads the model.
        tags: Besides ours.
        task: The hub's name of what the model does; None where that is not known.
    """
    source = part_of(manifest, "source")
    # The hub knows ISO 639 codes; the script stands in the text.
    codes = [str(each.get("code", "")).partition("-")[0] for each in language_entries(manifest)]
    licence, name = source.get("license"), source.get("name")
    fields: dict[str, Any] = {
        "language": list(dict.fromkeys(filter(None, codes))),
        "license": licence if isinstance(licence, str) and _LICENCE.fullmatch(licence) else UNKNOWN,
        "library_name": library,
        "tags": ["polycompress", *tags],
    }
    if isinstance(name, str) and _HUB_NAME.fullmatch(name):
        fields["base_model"] = name
    if task is not None:
        fields["pipeline_tag"] = task
    return fields
