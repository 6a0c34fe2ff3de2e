"""Parts of giving a model new tokens: the tokenizer, word vectors, the plan, what is written."""
