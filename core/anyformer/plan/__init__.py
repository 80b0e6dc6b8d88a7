"""What a model costs, from its configuration alone. Read `flops` (arithmetic of a token), then `devices` (what a GPU can)."""
