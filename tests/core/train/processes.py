"""Several processes of one run, for tests: `on_ranks` runs a function in each and gives back what each returned.

* The processes come from a server that has torch loaded, so that a group of them starts in a fraction of a second.
* They find one another through a file, so that no test needs a port. Gloo carries what they say.
* A group that does not end in time is ended, and says so; one that fails shows the traceback of the rank that failed.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

SECONDS = 120.0
LOADED = [
    "torch._dynamo", "torch._inductor.utils", "torch.distributed.tensor.parallel", "torch.distributed.fsdp", "pytest",
    "anyformer.nn", "anyformer.artifact",
]  # fmt: skip


def on_ranks(function: Callable[..., Any], size: int, *arguments: Any, shard: int = 1, tensor: int = 1) -> list[Any]:
    """What `function(world, *arguments)` returns on each of `size` ranks, in order.

    Args:
        function: of the top level of its module, which each process loads from its file.
        size: how many processes.
        arguments: for the function; they, and what it returns, must be values that can be sent.
        shard: processes over which weights are split; `join` within the function makes another mesh.
        tensor: processes over which layers are split.

    Raises `RuntimeError` with the traceback of the first rank that failed, or if they take more than `SECONDS`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    with tempfile.TemporaryDirectory() as folder:
        readers, processes = [], []
        for rank in range(size):
            reader, writer = context.Pipe(duplex=False)
            work = (
                Path(sys.modules[function.__module__].__file__ or ""),
                function.__module__,
                function.__name__,
                arguments,
            )
            given = (rank, size, f"{folder}/ranks", (shard, tensor), work, writer)
            processes.append(context.Process(target=_rank, args=given, daemon=True))
            processes[-1].start()
            writer.close()
            readers.append(reader)
        try:
            return _results(readers, time.monotonic() + SECONDS)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _results(readers: list[Connection], end: float) -> list[Any]:
    """What each rank sends, in order."""
    found: dict[int, Any] = {}
    while len(found) < len(readers):
        waiting = [reader for rank, reader in enumerate(readers) if rank not in found]
        ready = wait(waiting, max(0.0, end - time.monotonic()))
        if not ready:
            missing = [rank for rank in range(len(readers)) if rank not in found]
            raise RuntimeError(f"ranks {missing} of {len(readers)} did not end in {SECONDS:.0f} s")
        for reader in ready:
            rank = readers.index(reader)  # type: ignore[arg-type]
            try:
                worked, result = pickle.loads(reader.recv_bytes())  # type: ignore[union-attr]
            except EOFError:
                raise RuntimeError(f"rank {rank} ended without a result") from None
            if not worked:
                raise RuntimeError(f"rank {rank} failed:\n{result}")
            found[rank] = result
    return [found[rank] for rank in range(len(readers))]


def _rank(
    rank: int, size: int, store: str, parts: tuple[int, int], work: tuple[Path, str, str, tuple[Any, ...]],
    writer: Connection,
) -> None:  # fmt: skip
    """One process: join the others, do the work, send the result."""
    import torch
    import torch.distributed as dist

    from anyformer.train.parallel import world as worlds
    from anyformer.train.settings import Parallel

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    try:
        path, module_name, name, arguments = work
        found = dist.FileStore(store, size)
        dist.init_process_group("gloo", store=found, rank=rank, world_size=size, timeout=timedelta(seconds=SECONDS))
        world = worlds.join(Parallel(shard=parts[0], tensor=parts[1]), torch.device("cpu"))
        result = (True, getattr(_module(path, module_name), name)(world, *arguments))
    except BaseException:
        result = (False, traceback.format_exc())
    # Not `writer.send`, which would lend tensors in memory that ends with this process.
    writer.send_bytes(pickle.dumps(result))
    if result[0]:
        worlds.leave()


def _module(path: Path, name: str) -> Any:
    """The module of a test, whose name pytest gave it and no path leads to."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
