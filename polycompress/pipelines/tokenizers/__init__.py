"""Parts of the work on tokenizers: text, opening, figures, writing."""
