"""Embeddings: word vectors and their alignment, factorised tables, rows for new subwords."""
