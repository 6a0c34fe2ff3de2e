"""Lookup in a factorised table: a row of coordinates times the primitive embeddings."""

from polycompress.kernels.factorised_embedding.op import factorised_embedding
from polycompress.kernels.factorised_embedding.reference import factorised_embedding_reference

__all__ = ["factorised_embedding", "factorised_embedding_reference"]
