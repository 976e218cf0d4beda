"""Several processes that act as one, on the engines of torch: ranks, their shares, what they tell each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from landmark.utils.device import device, own_random_numbers
from landmark.utils.errors import InputError
from landmark.utils.locks import alone

PATIENCE = timedelta(minutes=30)  # a rank may decode or save for long; one that dies is noticed at once


def rank() -> int:
    """Give the number of this process among those of `group`, from 0; 0 when it is alone.

    >>> rank(), size()
    (0, 1)
    """
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Count the processes that act as one."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextlib.contextmanager
def group() -> Iterator[None]:
    """Join the processes that `torchrun` or `launch` started; a process that was started alone stays alone."""
    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    yield
    dist.destroy_process_group()  # not after an error: the others must not notice before it is reported


def total(*values: float) -> list[float]:
    """Sum some numbers over all ranks.

    >>> total(2, 0.5)
    [2.0, 0.5]
    """
    if size() == 1:
        return [float(value) for value in values]
    sums = torch.tensor(values, dtype=torch.float64, device=device())
    dist.all_reduce(sums)
    return sums.tolist()


def gather(item: object) -> list:
    """Collect what every rank has, in the order of the ranks.

    >>> gather("mine")
    ['mine']
    """
    if size() == 1:
        return [item]
    items: list = [None] * size()
    dist.all_gather_object(items, item)
    return items


@contextlib.contextmanager
def first_alone(lock: Path, busy: str = "", waiting: str = "") -> Iterator[None]:
    """Hold a lock in the first of several ranks, for all of them; none goes on before that. See `locks.alone`."""
    with alone(lock, busy, waiting=waiting) if rank() == 0 else contextlib.nullcontext():
        gather(None)
        yield


def parallel(model: nn.Module) -> nn.Module:
    """Wrap the network for all ranks: gradients are averaged over them, BatchNorm statistics too on GPUs.

    A live BatchNorm cannot be synchronised on CPUs: there each rank normalises with its own images.
    """
    if size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model)


def synchronised(model: nn.Module) -> nn.Module:
    """Exchange the BatchNorms of a network for synchronised ones where these exist: on several GPUs."""
    if size() == 1 or device().type != "cuda":
        return model
    from timm.layers import convert_sync_batchnorm  # torch's own loses the activation of timm's BatchNormAct2d

    return convert_sync_batchnorm(model)


def launch(function: Callable, *args: object, processes: int) -> None:
    """Run a function in several processes of this machine that act as one: two GPUs from a notebook.

    Args:
        function: importable, such as `landmark.fit`; each process calls `function(*args)`.
        args: picklable.
        processes: how many; on GPUs one for each.

    Raises:
        InputError: a process failed; all are ended, and the message is its own.

    Source: torch's elastic launcher, the one behind `torchrun`.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if device().type == "cuda" and processes > torch.cuda.device_count():
        raise InputError(f"{processes} processes for {torch.cuda.device_count()} GPUs: give at most one for each")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        max_restarts=0, start_method="spawn", monitor_interval=1,
    )  # fmt: skip
    try:
        with own_random_numbers(torch.device("cpu")):  # torch waits for as long as Python's random numbers say
            elastic_launch(config, function)(*args)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        message = failure.message["message"] if isinstance(failure.message, dict) else str(failure.message)
        raise InputError(f"process {number} of {processes} failed: {message.strip().splitlines()[-1]}") from None
