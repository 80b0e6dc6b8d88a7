"""Checkpoints from the Hugging Face hub, where there is a network and the user asks for it by address.

An address is `hf://owner/name`, with `@revision` after it if wanted. A bare `owner/name` never goes to the network: a
mistyped folder must not become a download.
"""

from __future__ import annotations

import re
from pathlib import Path

HUB = "hf://"
ADDRESS = re.compile(r"hf://(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.spm")
"""Files that may be read: never code, never a pickle."""


def download(address: str | Path) -> Path:
    """The local folder of a checkpoint on the hub; what was downloaded before is not downloaded again.

    Raises `ValueError` for an address that is none, where `huggingface_hub` is not installed, or the hub does not answer.
    """
    found = ADDRESS.fullmatch(str(address))
    if found is None:
        raise ValueError(
            f"{str(address)!r} is no address of the hub; write hf://owner/name or hf://owner/name@revision"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"{address} needs huggingface_hub: pip install huggingface_hub; or give a local folder"
        ) from None
    try:
        return Path(snapshot_download(found["id"], revision=found["revision"], allow_patterns=list(WANTED)))
    except Exception as error:  # the library has many kinds of errors, and none of them is ours
        said = str(error).strip().partition("\n")[0]
        raise ValueError(f"{address} cannot be downloaded: {said or type(error).__name__}") from None
