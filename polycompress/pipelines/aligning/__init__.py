"""What the alignment of word vectors is made of."""
