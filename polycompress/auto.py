"""Importing this module lets the Auto classes of transformers load models of ours: factorised tables, experts.

Example:
    >>> import polycompress.auto
    >>> from transformers import AutoModel
    >>> model = AutoModel.from_pretrained("path/to/a/model")  # doctest: +SKIP
"""

from __future__ import annotations

from polycompress.errors import MissingExtraError

try:
    from polycompress.own_models import register_all
except ImportError as error:
    raise MissingExtraError("polycompress.auto", "train") from error

__all__ = ["register_all"]

register_all()
