"""Melodies for anyformer.

| task    | from -> to                       | built from                         |
|---------|----------------------------------|------------------------------------|
| toy/key | the notes of a melody -> its key | Pitches, encoder, heads.Classifier |
"""

from anyformer import TaskSpec, hookimpl


@hookimpl
def anyformer_tasks():
    return {"key": TaskSpec("anyformer_toy.key:FindKey", "the notes of a melody to the key it is in")}
