"""A training to be killed: it says when it begins, and resumes what it finds in its folder."""

import signal
import sys

from tests.train.problems import HANDED, train

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests run in the background inherit that it is ignored
    folder, steps, handed = sys.argv[1:]
    print("begins", flush=True)
    train(int(steps), out=folder, every=3, resume=True, **(HANDED if handed == "handed on" else {}))
