"""Families: reading the world's checkpoints, and writing them.

A family is a table, read in both directions, between an external checkpoint layout and our model. Reading order: `steps`
(weights), `fields` (configuration), `family` (what a family is made of), one layout such as `bert`, then `reading` and
`writing`, which carry the tables out. `files` opens what strangers wrote.

The layouts that two or more domains use are modules beside this one; a plugin binds them to its tasks and its tokenizer, and
registers them with the hook `anyformer_families`. A layout that one domain alone uses is a module of its plugin.
"""

from anyformer.families.family import Architecture, Family
from anyformer.families.fields import Computed, Field, Fixed, Only, Told
from anyformer.families.steps import constant, fused, kept, linear, mapped, same, tied, transposed

__all__ = [
    "Architecture",
    "Computed",
    "Family",
    "Field",
    "Fixed",
    "Only",
    "Told",
    "constant",
    "fused",
    "kept",
    "linear",
    "mapped",
    "same",
    "tied",
    "transposed",
]  # fmt: skip
