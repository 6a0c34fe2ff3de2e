"""Rows for new subwords: what each is made of (a plan), and making them. Arrays in, arrays out."""
