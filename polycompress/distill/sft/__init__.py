"""Sparse fine-tuning: which weights, what they changed by, how differences are added, taken back and kept in files."""

from polycompress.distill.sft.applying import Applied, Patch, apply, make_patch, revert
from polycompress.distill.sft.composing import compose
from polycompress.distill.sft.diff import (
    BaseTensor,
    DiffInfo,
    Entries,
    SparseDiff,
    changed_places,
    difference,
    tensor_difference,
)
from polycompress.distill.sft.files import base_of, load_diff, open_diff, save_diff
from polycompress.distill.sft.mask import Mask, choose_mask
from polycompress.distill.sft.values import FLOATS, RawTensor, from_float64, to_float64

__all__ = [
    "apply", "Applied", "base_of", "BaseTensor", "changed_places", "choose_mask", "compose", "difference", "DiffInfo",
    "Entries", "FLOATS", "from_float64", "load_diff", "make_patch", "Mask", "open_diff", "Patch", "RawTensor", "revert",
    "save_diff", "SparseDiff", "tensor_difference", "to_float64",
]  # fmt: skip
