"""Heads of this plugin's own. These modules import torch; tasks import them inside methods."""
