"""What becomes of a run that is killed, poisoned or damaged: `uv run python -m benchmarks.faults`.

The same faults are put into a run of anyformer, by its shell, and into one of transformers' Trainer, by its script: small
classifiers of texts of the same length, width and depth, which save at the same steps.

| page        | holds                                                                |
|-------------|----------------------------------------------------------------------|
| `systems`   | what the harness asks of a system                                    |
| `ours`      | anyformer                                                            |
| `trainer`   | transformers' Trainer                                                |
| `ends`      | runs in processes of their own, and their resumption                 |
| `cases`     | the faults: each gives a row of figures for a system                 |
| `__main__`  | runs all cases on both, prints the table, keeps `results/faults.json` |

Every run is a fork of one process that has loaded both libraries, and is struck from within. What is reported is measured.
"""
