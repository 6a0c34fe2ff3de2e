"""Counting in units of work, by one process, all cores, or a Ray cluster."""
