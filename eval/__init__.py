"""Scripts that measure, run from a checkout; a package so that ``eval/speed/eval.py`` does not stand in its place."""
