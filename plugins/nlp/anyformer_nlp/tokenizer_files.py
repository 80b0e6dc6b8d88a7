"""The tokenizer files of a Hugging Face folder: their bytes, and what they say of special tokens.

* Only files of these names, directly in the folder, are opened: what a file says of other files, classes or code
  (`auto_map`, `name_or_path`) is not followed. A link must stay in the folder or lead to the `blobs` beside the
  snapshot, where the hub's cache keeps its files.
* Bytes are kept as they are, so that an export writes the same files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Files = Mapping[str, bytes]
"""Contents by file name."""

NAMES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "spiece.model", "tokenizer.model", "source.spm", "target.spm", "chat_template.jinja",
)  # fmt: skip
LARGEST = 128 * 2**20
"""Bytes of a file; the largest published tokenizers have 35 million."""
TOKENS = ("bos_token", "eos_token", "cls_token", "sep_token", "mask_token", "pad_token", "unk_token")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


def read_files(folder: Path) -> dict[str, bytes]:
    """The tokenizer files of a folder by name; none is no error."""
    return {name: _read(folder / name) for name in NAMES if (folder / name).is_file()}


def _read(path: Path) -> bytes:
    inside = (path.parent.resolve(), (path.parent / ".." / ".." / "blobs").resolve())
    if path.resolve().parent not in inside:
        raise ValueError(f"{path} is a link out of its folder; put the file itself there")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; a tokenizer file has at most {LARGEST:,}")
    return path.read_bytes()


def read_text(files: Files, name: str) -> str:
    """A file as text; raises `ValueError` if it is no UTF-8."""
    try:
        return files[name].decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {name}: byte {error.start:,} is no UTF-8; download the file again") from None


def read_json(files: Files, name: str) -> dict[str, Any]:
    """A file as a JSON object, an absent one as an empty object; raises `ValueError` if it is neither."""
    if name not in files:
        return {}
    try:
        found = json.loads(read_text(files, name))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"cannot read {name}: it is no JSON ({error}); download the file again") from None
    if not isinstance(found, dict):
        raise ValueError(f"cannot read {name}: a JSON object is expected, it holds a {type(found).__name__}")
    return found


def read_vocabulary(files: Files, name: str) -> dict[str, int]:
    """Ids by token, of `vocab.json`; raises `ValueError` if they are no such thing."""
    found = read_json(files, name)
    if not all(type(index) is int and index >= 0 for index in found.values()) or not found:
        raise ValueError(f"cannot read {name}: it must give each token an id, a whole number from 0")
    return found


def named_tokens(files: Files) -> dict[str, dict[str, Any]]:
    """Special tokens by role (`bos_token`, ...): their `content` and how they match; the tokenizer's config goes first."""
    named: dict[str, dict[str, Any]] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        found = read_json(files, name)
        named |= {role: _token(found[role], name) for role in TOKENS if found.get(role) is not None}
    return named


def extra_tokens(files: Files) -> list[dict[str, Any]]:
    """Special tokens that have no role."""
    found: list[dict[str, Any]] = []
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            tokens = read_json(files, name).get(key) or []
            found += [_token(token, name) for token in (tokens.values() if isinstance(tokens, dict) else tokens)]
    return found


def added_tokens(files: Files) -> dict[int, dict[str, Any]]:
    """Tokens by id that are added to the vocabulary, as `added_tokens.json` or the tokenizer's config tells."""
    name = "tokenizer_config.json"
    decoder = read_json(files, name).get("added_tokens_decoder")
    try:
        added = {int(index): {"content": token} for token, index in read_json(files, "added_tokens.json").items()}
        return dict(
            sorted((added | {int(index): _token(token, name) for index, token in (decoder or {}).items()}).items())
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"cannot read the added tokens of {name}: {f'{error}'[:100]!r}") from None


def class_name(files: Files) -> str:
    """The tokenizer class that the files name, without `Fast`; empty if they name none."""
    return str(read_json(files, "tokenizer_config.json").get("tokenizer_class") or "").removesuffix("Fast")


def _token(value: Any, name: str) -> dict[str, Any]:
    """A token written as text, or as an object with its `content` and how it matches."""
    token = value if isinstance(value, dict) else {"content": value}
    if not isinstance(token.get("content"), str) or not token["content"]:
        raise ValueError(f"cannot read {name}: a special token is {str(value)[:60]!r}; a text is expected")
    kept = {key: bool(token[key]) for key in (*FLAGS, "special") if isinstance(token.get(key), bool)}
    return {"content": token["content"], **kept}
