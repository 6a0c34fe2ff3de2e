"""Parts of `pipelines.sft`: pairing two models' tensors, writing a model with differences added, its record."""
