"""New tokenizers, trained by the tokenizers library on balanced text; the same text gives the same tokenizer."""
