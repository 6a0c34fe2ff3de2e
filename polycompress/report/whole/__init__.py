"""The page of a whole run of a recipe."""
