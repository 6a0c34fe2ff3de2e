"""Parts of factorising a model's table and of writing it plain again."""
