"""The training loop, the one of all strategies and architectures, in one process or in those that torchrun started."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from xferbench.errors import DataError
from xferbench.progress import bar
from xferbench.records import PROPERTIES
from xferbench.storage import write_json
from xferbench.transfer import checkpoint, data, logs
from xferbench.transfer.optimization import Average, clip, hold, loss, make_optimizer, not_finite, rate, set_rates
from xferbench.transfer.run import GRADIENTS, LOG, TIMING
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from xferbench.models.trainable import Trainable
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.data import GraphStore, Labelled, Sample
    from xferbench.transfer.strategies import Transfer

    Validate = Callable[[Trainable], dict[str, Any]]

STORED = (1.0, 1.0, 1 / EV_PER_A3_IN_GPA, 1.0)
"""From the units of the loss to stored units, by quantity."""

GRADIENT_SAMPLES = 10
"""Steps of the first epoch whose gradients are recorded, as in Fig. 3 of Huang et al. 2025."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process among all of a run.

    Attributes:
        device: This process's own.
        rank: From 0; process 0 writes the files.
        world: How many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - anything that can be pickled
        """The value of every process, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, gloo for CPUs and nccl for GPUs; alone without torchrun.

    Args:
        device: "cpu", or "cuda": with several processes each takes the GPU of its local rank.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or distributed.is_initialized():
        joined = distributed.is_initialized()
        rank, world = (distributed.get_rank(), distributed.get_world_size()) if joined else (0, 1)
        yield Processes(rank=rank, world=world, device=_own(device, world))
        return
    own = _own(device, world)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield Processes(rank=distributed.get_rank(), world=world, device=own)
    finally:
        distributed.destroy_process_group()


def _own(device: str, world: int) -> torch.device:
    if world > 1 and device == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(device)


class Runner:
    """A run under way.

    Args:
        transfer: What trains; its model is on its device.
        samples: To learn from.
        graphs: Of the samples.
        validate: Errors of a model in evaluation mode on the validation frames, by quantity.
        config: Of the run.
        processes: This one among all.
        directory: Of the run.
        max_cost: Of a part of a batch.
        workers: Processes that make batches.
        say: Is told the errors before training and after the first epoch.
    """

    def __init__(
        self,
        *,
        transfer: Transfer,
        samples: Sequence[Sample],
        graphs: GraphStore,
        validate: Validate,
        config: TrainConfig,
        processes: Processes,
        directory: Path,
        max_cost: float,
        workers: int,
        say: Callable[[int, dict[str, Any]], None] = lambda _epoch, _errors: None,
    ) -> None:
        self.transfer, self.samples, self.graphs, self.validate = transfer, samples, graphs, validate
        self.config, self.processes, self.directory, self.say = config, processes, directory, say
        self.max_cost, self.workers = max_cost, workers
        self.model = transfer.model
        self.parameters = list(self.model.parameters())
        self.wrapped: Any = self.model
        self.optimizer = make_optimizer(self.model, transfer.groups, config) if transfer.groups else None
        self.average = None if config.ema is None else Average(self.model, config.ema)
        self.state = checkpoint.State()
        self.clock = Clock()

    @property
    def n_batches(self) -> int:
        """Of an epoch."""
        return data.n_batches(len(self.samples), self.config.batch_size)

    def resume(self) -> None:
        """Continue where the last checkpoint was written; from the start if there is none.

        Raises:
            StorageError: It cannot be read.
            IntegrityError: It is damaged.
        """
        path = self.directory / checkpoint.CHECKPOINT
        if path.is_file():
            self.state = checkpoint.load(path, self.model, self.optimizer, self.average)
            if not self.processes.is_first:
                # the sums in the checkpoint are those of all processes together
                self.state.sums = [0.0] * checkpoint.N_SUMS

    def run(self, *, progress: bool = False) -> checkpoint.State:
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
        trains = self.optimizer is not None
        if trains and self.processes.world > 1:
            # a batch without angles, or without moments, leaves weights without gradient
            self.wrapped = DistributedDataParallel(self.model, find_unused_parameters=True)
        n, done = len(self.samples), self.state
        frames = n * done.epoch + self.config.batch_size * done.batch
        total = n * self.config.epochs if trains else 0
        meter = bar("training", total, frames, unit="frames", show=progress and first and total > 0)
        loggers = logs.loggers(self.config, self.directory) if first else nullcontext(list[logs.Logger]())
        stop = _stop_signals(alone=self.processes.world == 1)
        with loggers as self.loggers, meter as self.bar, stop as self.stop:
            if not self.state.log_bytes:
                self._record(row=[], errors=self._validated(), timing={})
            while trains and self.state.epoch < self.config.epochs:
                self._epoch()
                limit = self.config.epoch_limit
                if limit is not None and self.state.epoch >= limit and self.state.epoch < self.config.epochs:
                    raise KeyboardInterrupt(f"stopped after {limit} epochs")
        return self.state

    def _epoch(self) -> None:
        """The rest of an epoch: train, validate, log, save."""
        at, config = self.state, self.config
        todo = list(
            data.parts(
                self.samples,
                data.order(config.seed, at.epoch, len(self.samples)),
                batch_size=config.batch_size,
                max_cost=self.max_cost,
                rank=self.processes.rank,
                world=self.processes.world,
                start=at.batch,
            )
        )
        self.clock = Clock()
        self.model.train()
        step_loss = 0.0
        for labelled in self.clock.waiting(data.load(self.samples, todo, self.graphs, workers=self.workers)):
            step_loss += self._part(labelled.to(self.processes.device))
            if labelled.part.is_last:
                self._step(labelled, step_loss)
                step_loss = 0.0
        self._end_epoch()

    def _part(self, labelled: Labelled) -> float:
        """Forward and backward of a part of a batch; its share of the loss."""
        world = self.processes.world
        data.seed_part(self.config.seed, self.state.epoch, labelled.part)
        silent = isinstance(self.wrapped, DistributedDataParallel) and not labelled.part.is_last
        with self.wrapped.no_sync() if silent else nullcontext():
            output = self.wrapped(labelled.batch)
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

    def _step(self, labelled: Labelled, value: float) -> None:
        """One step of the optimizer, and what is kept of it."""
        at, config = self.state, self.config
        assert self.optimizer is not None  # noqa: S101 - for the type checker; run() asks before
        hold(self.model, self.transfer.groups, at.step)
        if is_sampled(at.epoch, at.batch, self.n_batches):
            entry = {"step": at.step, "loss": sum(self.processes.gather(value))}
            at.gradients.append(entry | {"gradient_norms": gradient_norms(self.model, self.layers)})
        if self.transfer.penalty is not None:
            self.transfer.penalty.add_gradients(self.model)
        norm = clip(self.parameters, config.clip)
        if not math.isfinite(norm):
            self._stop_not_finite(labelled, f"the gradient's norm is {norm}")
        now = rate(config, at.epoch, at.batch, self.n_batches)
        set_rates(self.optimizer, self.transfer.groups, now, config.lr)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        self._count(labelled, value, norm)

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Parameters whose gradients are recorded together: the groups of the network, and what a strategy added."""
        found = self.model.groups()
        known = {name for names in found.values() for name in names}
        more = tuple(name for group in self.transfer.groups for name in group.parameters if name not in known)
        return found | ({"added": more} if more else {})

    def _count(self, labelled: Labelled, value: float, norm: float) -> None:
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
        at.epoch, at.batch, at.sums, at.largest = at.epoch + 1, 0, [0.0] * checkpoint.N_SUMS, 0.0
        self._record(row=row, errors=errors, timing=timing)

    def _validated(self) -> dict[str, Any]:
        """Errors on the validation set; the weights are kept if they are the best so far."""
        with nullcontext() if self.average is None else self.average.within():
            errors = self.validate(self.model.eval())
            error = errors[self.config.select]
            trained = self.state.step > 0 or self.optimizer is None or not self.config.epochs
            if trained and error < self.state.best:
                self.state.best, self.state.best_epoch = error, self.state.epoch + (self.state.step > 0)
                self.state.best_weights = {
                    name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()
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
            write_json(self.directory / GRADIENTS, {"first_epoch": self.state.gradients})
            if self.state.epoch <= 1:
                self.say(self.state.epoch, errors)
        self._save()

    def _save(self) -> None:
        sums = [sum(values) for values in zip(*self.processes.gather(self.state.sums), strict=True)]
        if self.processes.is_first:
            own, self.state.sums = self.state.sums, sums
            path = self.directory / checkpoint.CHECKPOINT
            checkpoint.save(path, self.state, self.model, self.optimizer, self.average)
            self.state.sums = own

    def _stop_not_finite(self, labelled: Labelled, what: str) -> None:
        """Name the frames at fault: those with a prediction that is not finite, else all of the part."""
        places = not_finite(self.output, labelled) or range(len(labelled.part.indices))
        ids = [self.samples[labelled.part.indices[place]].frame_id for place in places]
        at = self.state
        raise DataError(
            f"{what} in epoch {at.epoch + 1}, batch {at.batch + 1}: frames {data.listed(ids)}; "
            "check their labels, lower lr, or set clip"
        )


def is_sampled(epoch: int, batch: int, n_batches: int) -> bool:
    """Whether the gradients of a step are recorded: ten steps of the first epoch, the first among them."""
    samples = GRADIENT_SAMPLES
    return epoch == 0 and (batch == 0 or samples * batch // n_batches > samples * (batch - 1) // n_batches)


def gradient_norms(model: nn.Module, layers: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Norm of the gradient of each layer that has one.

    Args:
        model: After a backward pass.
        layers: Name -> parameters.
    """
    known = {name: item.grad for name, item in model.named_parameters() if item.grad is not None}
    squares = {
        layer: [float(known[name].double().square().sum()) for name in names if name in known]
        for layer, names in layers.items()
    }
    return {layer: math.sqrt(sum(values)) for layer, values in squares.items() if values}


class Clock:
    """How long the computing of an epoch waits for its data."""

    def __init__(self) -> None:
        self.start, self.waited, self.frames = time.perf_counter(), 0.0, 0

    def waiting(self, made: Iterator[Labelled]) -> Iterator[Labelled]:
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
