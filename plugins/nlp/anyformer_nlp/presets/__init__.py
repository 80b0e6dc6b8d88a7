"""Published language models as presets, by name; a module each for models of one make."""

from __future__ import annotations

from collections.abc import Callable

from anyformer.preset import Preset
from anyformer_nlp.presets import bert, gpt, llama, palm, t5, vaswani

PRESETS: dict[str, Callable[[], Preset]] = {
    **bert.PRESETS,
    **gpt.PRESETS,
    **llama.PRESETS,
    **palm.PRESETS,
    **t5.PRESETS,
    **vaswani.PRESETS,
}
