"""Measurements that the documentation quotes: each a script; `results/` holds what they printed."""
