"""Which epoch and step come next?"""

from __future__ import annotations


class Progress:
    """The position behind the last delivered batch, and the iterator that moves it.

    Parameters
    ----------
    epoch
        The first epoch.

    Attributes
    ----------
    epoch, step
        The position: ``step`` batches of ``epoch`` were delivered.
    batches, samples
        Delivered since the loader was made.
    consumer_seconds
        From deliveries to the calls behind them.
    has_finished
        Whether an epoch was iterated to its end: then others are likely to follow.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.step = 0
        self.batches = 0
        self.samples = 0
        self.consumer_seconds = 0.0
        self.has_finished = False
        self._is_started = False
        self._mover: object = None

    def next_position(self) -> tuple[int, int]:
        """Return where a new iteration starts: behind an epoch that was begun and abandoned."""
        if self._is_started:
            return self.epoch + 1, 0
        return self.epoch, self.step

    def move_to(self, epoch: int, step: int, *, mover: object = None) -> None:
        """Set the position; from now on only ``mover`` advances it."""
        self.epoch, self.step = epoch, step
        self._is_started = False
        self._mover = mover

    def set_epoch(self, epoch: int) -> None:
        """Choose the next epoch; a position inside it that no iteration has used yet is kept."""
        if self._is_started or epoch != self.epoch:
            self.move_to(epoch, 0)

    def deliver(self, num_samples: int, *, mover: object) -> None:
        """Count a batch."""
        self.batches += 1
        self.samples += num_samples
        if mover is self._mover:
            self.step += 1
            self._is_started = True

    def pass_over(self, *, mover: object) -> None:
        """Count a batch of which no sample could be read: a step, and nothing delivered."""
        if mover is self._mover:
            self.step += 1
            self._is_started = True

    def finish(self, *, mover: object) -> None:
        """Go to the next epoch."""
        self.has_finished = True
        if mover is self._mover:
            self.move_to(self.epoch + 1, 0)
