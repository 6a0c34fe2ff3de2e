"""The gradient of an embedding table as the rows that a batch touched, and the lookup that asks for it."""

from polycompress.kernels.embedding_gradient.lookup import SparseEmbedding, sparse_embedding
from polycompress.kernels.embedding_gradient.op import embedding_gradient, merge_rows

__all__ = ["embedding_gradient", "merge_rows", "sparse_embedding", "SparseEmbedding"]
