"""A model on disk: tensors by slice, configuration, manifest, card, atomic writes."""
