"""What a model costs, from its configuration alone: `flops` (operations of a token), `devices` (what a GPU can do)."""
