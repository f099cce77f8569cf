"""What keeps the program from starting, and can be mended by who started it."""


class Mendable(Exception):
    """The message says what is wrong and where; the command line tells it without the way it came."""
