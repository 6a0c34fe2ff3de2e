"""Where examples come from: a local data directory, or data sets of the Hugging Face hub. Both give the same rows."""
