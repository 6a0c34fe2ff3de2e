"""Train models with experts of language families: what is asked for, what is learnt, how languages are weighed."""
