"""The collector of garbage, a third of what a start costs: it looks again and again at what is there to stay."""

import atexit
import gc


def rest() -> None:
    """Collect nothing until ``collect``: imports make much, and leave next to nothing behind. Nor at the very end."""
    gc.disable()
    atexit.register(gc.freeze)


def collect() -> None:
    """From now on. What exists by now is never looked at again, be it garbage: a start makes it for a whole life."""
    gc.freeze()
    gc.enable()
