"""The files of a checkpoint folder: its configuration, and its weights as safetensors, whole or in shards.

They come from strangers. Nothing outside the folder is opened, nothing is imported, nothing is unpickled; sizes are bounded
before anything is allocated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anyformer import durable
from anyformer.description import read_json
from anyformer.hints import listed

CONFIG = "config.json"
GENERATION = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Suffixes of files that may hold a pickle."""
LARGEST_JSON = 50_000_000
"""Bytes of a JSON file at most."""
SHARD = 5_000_000_000
"""Bytes of a file of weights at most, when they are written."""
FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
"""Types of numbers that weights may have."""


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint of another library."""
    return (folder / CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`. Raises `ValueError` if it is not there or no mapping."""
    config = read_json(folder / CONFIG, LARGEST_JSON)
    if not isinstance(config, dict):
        raise ValueError(f"{folder / CONFIG} holds no configuration: it is no mapping")
    return config


def read_generation(folder: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """What the folder's `generation_config.json` says of some keys, None where it is silent; empty if there is none.

    Raises `ValueError` if it is no mapping.
    """
    if not keys or not (folder / GENERATION).is_file():
        return {}
    found = read_json(folder / GENERATION, LARGEST_JSON)
    if not isinstance(found, dict):
        raise ValueError(f"{folder / GENERATION} holds no settings: it is no mapping")
    return {key: found.get(key) for key in keys}


class Weights:
    """The open weights of a folder: keys, shapes and types without reading, tensors one by one."""

    def __init__(self, folder: Path, files: Mapping[str, Any]) -> None:
        self.folder = folder
        self._file_of = {key: handle for handle in files.values() for key in handle.keys()}  # noqa: SIM118

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __contains__(self, key: object) -> bool:
        return key in self._file_of

    def shape(self, key: str) -> list[int]:
        """Of a tensor, from the file's header."""
        shape: list[int] = self._file_of[key].get_slice(key).get_shape()
        return shape

    def dtype(self, key: str) -> str:
        """Of a tensor, as safetensors names it: `F32`, `I64`."""
        dtype: str = self._file_of[key].get_slice(key).get_dtype()
        return dtype

    def read(self, key: str) -> Tensor:
        """The tensor."""
        try:
            tensor: Tensor = self._file_of[key].get_tensor(key)
        except SafetensorError as error:
            raise ValueError(f"{self.folder}: the weight {key!r} cannot be read: {error}") from None
        return tensor


@contextmanager
def open_weights(folder: Path) -> Iterator[Weights]:
    """Open a folder's weights. Raises `ValueError` if there are none, or a file of them is damaged."""
    with ExitStack() as stack:
        files = {}
        for name in _names(folder):
            path = folder / name
            try:
                files[name] = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{path} cannot be read, it is damaged or no safetensors file: {error}") from None
        yield Weights(folder, files)


def _names(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / INDEX).is_file():
        raise ValueError(_no_weights(folder))
    index = read_json(folder / INDEX, LARGEST_JSON)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{folder / INDEX} has no 'weight_map' from weights to files")
    names = sorted(set(places.values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{folder / INDEX} names {name!r}; a file of weights is a .safetensors file in the folder")
        if not (folder / name).is_file():
            raise ValueError(f"{folder} lacks {name}, which its index names")
    return names


def _no_weights(folder: Path) -> str:
    there = sorted(path.name for path in folder.iterdir() if path.is_file())
    pickles = [name for name in there if name.endswith(PICKLES)]
    if pickles:
        return (
            f"{folder} has its weights in {pickles[0]}, a pickle, which can run any code when it is read: refused; "
            "if you trust its maker, convert it where transformers is installed: AutoModel.from_pretrained(FOLDER)"
            ".save_pretrained(FOLDER), with the class that config.json names for AutoModel"
        )
    return f"{folder} has no {WEIGHTS}; it has: {listed(there)}"


def write_weights(tensors: Mapping[str, Tensor], folder: Path, largest: int = SHARD) -> None:
    """Write weights as one file, or as shards of at most `largest` bytes with their index."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > largest:
            shards.append({})
            size = 0
        shards[-1][key] = tensor.contiguous()
        size += tensor.nbytes
    if len(shards) == 1:
        durable.write_tensors(shards[0], folder / WEIGHTS)
        return
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        durable.write_tensors(shard, folder / name)
    places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    total = sum(tensor.nbytes for tensor in tensors.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=2))
