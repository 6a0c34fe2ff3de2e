"""Parts of giving a model experts of language families, and of taking them out again."""
