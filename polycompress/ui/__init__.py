"""The local page: runs in a table, their reports, and two models side by side on one text."""
