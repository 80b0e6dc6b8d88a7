# Short names for what is typed often; `just` lists them.

default:
    @just --list

# Everything CI runs.
check:
    bash .ci/run

# Format and mend what can be mended.
fix:
    uv run ruff check --fix
    uv run ruff format

# The tests; `just test -m slow` runs the long ones.
test *args:
    uv run pytest {{args}}

# Every installed plugin learns something real.
demo:
    uv run anyformer demo

# Types and import contracts.
types:
    uv run mypy
    uv run lint-imports
