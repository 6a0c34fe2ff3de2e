"""Runs fastText's training in a process of its own, for ``training_vectors``; takes its settings as JSON.

The library trains with memory that it has not written, which the caller lets the system fill with zeros; it writes its
progress to stderr by itself, and cannot be stopped from Python.
"""

import json
import sys

if __name__ == "__main__":
    import fasttext

    settings = json.loads(sys.argv[1])
    # train_unsupervised takes no seed, but its defaults have one.
    fasttext.FastText.unsupervised_default["seed"] = settings["seed"]
    try:
        model = fasttext.train_unsupervised(settings["text"], **settings["options"])
        model.save_model(settings["out"])
    except (RuntimeError, ValueError) as error:
        sys.stderr.write(f"\nerror: {error}\n")
        sys.exit(3)
