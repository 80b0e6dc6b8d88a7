"""The contract of every installed plugin's tasks; a conftest.py at the top would say `pytest_plugins = [...]` instead."""

from anyformer.testing import *  # noqa: F403 - pytest takes `pytest_plugins` at the top only, and two hooks are all there is
