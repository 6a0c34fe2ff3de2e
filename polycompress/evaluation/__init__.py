"""Tasks, metrics, loyalty and speed: how a model directory is judged."""
