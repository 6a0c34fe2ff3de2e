"""New pieces for a tokenizer that there is: found in text, put on its scale, chosen by what they save, added."""
