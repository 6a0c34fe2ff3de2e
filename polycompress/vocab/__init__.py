"""Vocabularies: counts, evidence, selection, and tokenizer surgery."""
