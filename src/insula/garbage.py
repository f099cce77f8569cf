"""The collector of garbage, a third of what a start costs: it looks again and again at what is there to stay."""

import gc


def rest() -> None:
    """Collect nothing until ``collect``: imports make much, and leave next to nothing behind."""
    gc.disable()


def collect() -> None:
    """From now on, and never in what exists by now: a start makes it for as long as the process lives."""
    gc.freeze()
    gc.enable()
