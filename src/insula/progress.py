"""What `insula up` says while it starts."""

from typing import Self

from rich.console import Console


class Progress:
    """Says what is going on: by a spinner on a terminal, line by line elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console, self._status = console, console.status("")

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def say(self, step: str) -> None:
        if self.console.is_terminal:
            self._status.update(step)
        else:
            self.console.print(step)

    def stop(self) -> None:
        self._status.stop()
