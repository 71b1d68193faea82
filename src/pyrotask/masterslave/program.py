"""What every master is, wherever its tasks are kept: a method `run`, and an end in good order."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyrotask.masterslave.telling import say


class MasterProgram(ABC):
    """A master's way from the beginning to the end. Override `run`, or call the other methods as you like.

    Attributes:
        label: the name of the computation.
    """

    label: str
    _in_a_hurry = False
    """Nobody wants the rest any more: a `shutdown` does not wait for it."""

    def run(self) -> None:
        """What the master does. Override it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no method run: define one, which calls requestTask and retrieveResult"
        )

    def start(self) -> None:
        """Call `run`, and then `shutdown`, whatever happened."""
        try:
            self.run()
        except KeyboardInterrupt:
            self._in_a_hurry = True
            raise
        except Exception as error:
            self._warn_of_delay(error)
            raise
        finally:
            self.shutdown()

    @abstractmethod
    def shutdown(self) -> None:
        """End the master's work; what was asked for is done first, if anybody is there to do it."""

    @abstractmethod
    def _count_unfinished(self) -> int:
        """How many tasks were asked for, and are not done."""

    def _warn_of_delay(self, error: Exception) -> None:
        """An error would be seen only after all the work: say it before."""
        unfinished = self._count_unfinished()
        if unfinished:
            one = "the task that it has asked for is"
            what = one if unfinished == 1 else f"the {unfinished} tasks that it has asked for are"
            failed = f"{self.label} failed ({type(error).__name__}: {error})"
            say(f"{failed}; {what} done first. Ctrl-C ends it now")
