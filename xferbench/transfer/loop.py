"""The training loop, the one of all methods."""

from __future__ import annotations

import math
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parallel import DistributedDataParallel

from xferbench.errors import DataError
from xferbench.progress import bar
from xferbench.records import PROPERTIES
from xferbench.storage import write_json
from xferbench.transfer import batches, health, logs, state
from xferbench.transfer.loss import loss, not_finite
from xferbench.transfer.method import plain
from xferbench.transfer.optimizing import Average, clip, hold, make_optimizer, rate, set_rates
from xferbench.transfer.run import HEALTH, LOG, TIMING
from xferbench.transfer.samples import listed
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from xferbench.models.chgnet.model import CHGNet
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.distributed import Processes
    from xferbench.transfer.method import Student
    from xferbench.transfer.samples import Sample

    Validate = Callable[[CHGNet], dict[str, Any]]

STORED = (1.0, 1.0, 1 / EV_PER_A3_IN_GPA, 1.0)
"""From the units of the loss to stored units, by quantity."""


class Loop:
    """A run under way.

    Args:
        student: What trains; its network is on its device.
        samples: To learn from.
        validate: Errors of a plain network on the validation frames, by quantity.
        config: Of the run.
        processes: This one among all.
        directory: Of the run.
        max_rows: Of a part of a batch.
        workers: Processes that make batches.
    """

    def __init__(
        self,
        *,
        student: Student,
        samples: Sequence[Sample],
        validate: Validate,
        config: TrainConfig,
        processes: Processes,
        directory: Path,
        max_rows: float,
        workers: int,
    ) -> None:
        self.student, self.samples, self.validate, self.config = student, samples, validate, config
        self.processes, self.directory, self.max_rows, self.workers = processes, directory, max_rows, workers
        self.network = student.network
        self.parameters = list(student.network.parameters())
        self.wrapped: Any = student.network
        self.optimizer = make_optimizer(student, config) if student.groups else None
        self.average = None if config.ema is None else Average(student.network, config.ema)
        self.state = state.State()
        self.clock = Clock()

    @property
    def n_batches(self) -> int:
        """Of an epoch."""
        return batches.n_batches(len(self.samples), self.config.batch_size)

    def resume(self) -> None:
        """Continue where the last checkpoint was written; from the start if there is none.

        Raises:
            StorageError: It cannot be read.
            IntegrityError: It is damaged.
        """
        path = self.directory / state.CHECKPOINT
        if path.is_file():
            self.state = state.load(path, self.network, self.optimizer, self.average)
            if not self.processes.is_first:
                # the sums in the checkpoint are those of all processes together
                self.state.sums = [0.0] * state.N_SUMS

    def run(self, *, progress: bool = False) -> state.State:
        """Train to the end.

        Args:
            progress: Whether to show a bar on stderr.

        Raises:
            DataError: Loss or gradient is not finite; the message names the frames.
            StorageError: The disk refuses.
            KeyboardInterrupt: The run was asked to stop, and can be resumed.
        """
        first = self.processes.is_first
        self.log = logs.Table(self.directory / LOG, self.state.log_bytes) if first else None
        if self.network_trains:
            self.wrapped = _wrapped(self.network, self.processes)
        n, done = len(self.samples), self.state
        size = self.config.batch_size
        frames = n * done.epoch + size * done.batch
        total = n * self.config.epochs if self.network_trains else 0
        meter = bar("training", total, frames, unit="frames", show=progress and first and total > 0)
        loggers = logs.loggers(self.config, self.directory) if first else nullcontext(list[logs.Logger]())
        stop = _stop_signals(alone=self.processes.world == 1)
        with loggers as self.loggers, meter as self.bar, stop as self.stop:
            if not self.state.log_bytes:
                self._record(row=[], errors=self._validated(), timing={})
            while self.network_trains and self.state.epoch < self.config.epochs:
                self._epoch()
                limit = self.config.epoch_limit
                if limit is not None and self.state.epoch >= limit and self.state.epoch < self.config.epochs:
                    raise KeyboardInterrupt(f"stopped after {limit} epochs")
        return self.state

    @property
    def network_trains(self) -> bool:
        """Whether there is anything to train."""
        return self.optimizer is not None

    def _epoch(self) -> None:
        """The rest of an epoch: train, validate, log, save."""
        at, config = self.state, self.config
        order = batches.order(config.seed, at.epoch, len(self.samples))
        world = self.processes.world
        todo = list(
            batches.parts(
                self.samples,
                order,
                batch_size=config.batch_size,
                max_rows=self.max_rows,
                rank=self.processes.rank,
                world=world,
                start=at.batch,
            )
        )
        self.clock = Clock()
        self.network.train()
        step_loss = 0.0
        for labelled in self.clock.waiting(
            batches.load(self.samples, todo, self.network.settings, workers=self.workers)
        ):
            step_loss += self._part(labelled.to(self.processes.device))
            if labelled.part.is_last:
                self._step(labelled, step_loss)
                step_loss = 0.0
        self._end_epoch()

    def _part(self, labelled: batches.Labelled) -> float:
        """Forward and backward of a part of a batch; its share of the loss."""
        world = self.processes.world
        batches.seed_part(self.config.seed, self.state.epoch, labelled.part)
        silent = isinstance(self.wrapped, DistributedDataParallel) and not labelled.part.is_last
        with self.wrapped.no_sync() if silent else nullcontext():
            output = self.wrapped(labelled.batch, create_graph=True)
            found = loss(output, labelled, self.config)
            # processes average their gradients, but their shares of the loss add up
            torch.autograd.backward(found.value * world)
        value, *errors = torch.cat([found.value.detach()[None], found.errors]).double().tolist()
        self.output = output
        if not math.isfinite(value):
            self._stop_not_finite(labelled, f"the loss is {value}")
        for place, error in enumerate(errors):
            self.state.sums[1 + place] += error
        return float(value)

    def _step(self, labelled: batches.Labelled, value: float) -> None:
        """One step of the optimiser, and what is kept of it."""
        at, config = self.state, self.config
        assert self.optimizer is not None  # noqa: S101 - for the type checker; run() asks before
        hold(self.student, config, at.epoch)
        if health.is_sampled(at.epoch, at.batch, self.n_batches):
            at.health.append(health.entry(at.step, sum(self.processes.gather(value)), self.network))
        norm = clip(self.parameters, config.clip)
        if not math.isfinite(norm):
            self._stop_not_finite(labelled, f"the gradient's norm is {norm}")
        now = rate(config, at.epoch, at.batch, self.n_batches)
        set_rates(self.optimizer, self.student.groups, now, config.lr)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        self._count(labelled, value, norm)

    def _count(self, labelled: batches.Labelled, value: float, norm: float) -> None:
        """Move on by a batch."""
        at, counts = self.state, labelled.part.counts
        at.sums[0] += value
        if self.processes.is_first:
            for place, count in enumerate(counts):
                at.sums[5 + place] += count
        at.largest = max(at.largest, norm)
        at.batch += 1
        at.step += 1
        size = min(self.config.batch_size, len(self.samples) - (at.batch - 1) * self.config.batch_size)
        self.clock.frames += size
        self.bar.set_postfix(epoch=at.epoch + 1, loss=f"{value:.4g}", refresh=False)
        self.bar.update(size)
        if at.step % self.config.save_steps == 0 and at.batch < self.n_batches:
            self._save()
        if self.stop.asked:
            self._save()
            raise KeyboardInterrupt(f"stopped in epoch {at.epoch + 1}")

    def _end_epoch(self) -> None:
        at, config = self.state, self.config
        timing = self.clock.facts()
        sums = [sum(values) for values in zip(*self.processes.gather(at.sums), strict=True)]
        last = rate(config, at.epoch, self.n_batches - 1, self.n_batches)
        means = [
            error / count * unit if count else math.nan
            for error, count, unit in zip(sums[1:5], sums[5:], STORED, strict=True)
        ]
        row = [last, sums[0] / self.n_batches, at.largest, *means]
        errors = self._validated()
        at.epoch, at.batch, at.sums, at.largest = at.epoch + 1, 0, [0.0] * state.N_SUMS, 0.0
        self._record(row=row, errors=errors, timing=timing)

    def _validated(self) -> dict[str, Any]:
        """Errors on the validation set; the weights are kept if they are the best so far."""
        with nullcontext() if self.average is None else self.average.within():
            errors = self.validate(plain(self.network))
            error = errors[self.config.select]
            trained = self.state.step > 0 or not self.network_trains or not self.config.epochs
            if trained and error < self.state.best:
                self.state.best, self.state.best_epoch = error, self.state.epoch + (self.state.step > 0)
                self.state.best_weights = {
                    name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()
                }
        return errors

    def _record(self, *, row: Sequence[float], errors: dict[str, Any], timing: dict[str, float]) -> None:
        """Write what an epoch gave: log first, then the checkpoint that says how long the log is."""
        names = ("lr", "loss", "largest_gradient", *(f"train_{name}" for name in PROPERTIES))
        cells = logs.mean_columns(row or [math.nan] * len(names), names, "")
        cells |= logs.mean_columns([errors[name] for name in PROPERTIES], PROPERTIES, "val_")
        if self.log is not None:
            self.log.add({"epoch": self.state.epoch, "step": self.state.step, **cells})
            self.state.log_bytes = self.log.position
            numbers = {name: value for name, value in cells.items() if isinstance(value, float)}
            for logger in self.loggers:
                logger.log(self.state.step, numbers)
            if timing:
                logs.Table(self.directory / TIMING).add({"epoch": self.state.epoch, **timing})
            write_json(self.directory / HEALTH, {"first_epoch": self.state.health})
        self._save()

    def _save(self) -> None:
        sums = [sum(values) for values in zip(*self.processes.gather(self.state.sums), strict=True)]
        if self.processes.is_first:
            own, self.state.sums = self.state.sums, sums
            state.save(self.directory / state.CHECKPOINT, self.state, self.network, self.optimizer, self.average)
            self.state.sums = own

    def _stop_not_finite(self, labelled: batches.Labelled, what: str) -> None:
        """Name the frames at fault: those with a prediction that is not finite, else all of the part."""
        places = not_finite(self.output, labelled) or range(len(labelled.part.indices))
        ids = [self.samples[labelled.part.indices[place]].frame_id for place in places]
        at = self.state
        raise DataError(
            f"{what} in epoch {at.epoch + 1}, batch {at.batch + 1}: frames {listed(ids)}; "
            "check their labels, lower lr, or set clip"
        )


class Clock:
    """How long the computing of an epoch waits for its data."""

    def __init__(self) -> None:
        self.start, self.waited, self.frames = time.perf_counter(), 0.0, 0

    def waiting(self, made: Iterator[batches.Labelled]) -> Iterator[batches.Labelled]:
        """The same items; the time that making them takes is counted."""
        while True:
            begin = time.perf_counter()
            item = next(made, None)
            self.waited += time.perf_counter() - begin
            if item is None:
                return
            yield item

    def facts(self) -> dict[str, float]:
        """Numbers of ``timing.csv``."""
        seconds = time.perf_counter() - self.start
        return {
            "seconds": round(seconds, 3),
            "frames_per_second": round(self.frames / seconds, 3),
            "waiting_for_data": round(self.waited / seconds, 4),
        }


@dataclass(slots=True)
class Stop:
    """Whether the run was asked to stop."""

    asked: bool = False


@contextmanager
def _stop_signals(*, alone: bool) -> Iterator[Stop]:
    """Within the block, the first Ctrl-C or SIGTERM lets the step under way end; the next one does what it always does.

    Args:
        alone: With several processes, which would stop at different steps, signals are left as they are.
    """
    stop = Stop()
    if not alone or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: object) -> None:
        stop.asked = True
        signal.signal(number, old[signal.Signals(number)])

    for number in old:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _wrapped(network: CHGNet, processes: Processes) -> Any:  # noqa: ANN401 - a network either way
    """The network, or torch's wrapper that averages gradients over processes."""
    if processes.world == 1:
        return network
    # a batch without angles, or without moments, leaves weights without gradient
    return DistributedDataParallel(network, find_unused_parameters=True)
