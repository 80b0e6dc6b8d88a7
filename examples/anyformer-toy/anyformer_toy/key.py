"""toy/key: the notes of a melody to the key it is in."""

from typing import Literal

import numpy as np

from anyformer import Data, Demo, Metric, Sample, Task, Tokenizer

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
KEYS = tuple(f"{note} {mode}" for mode in SCALES for note in NOTES)
PROFILES = (  # how well listeners found each note to fit C major and C minor (Krumhansl and Kessler 1982)
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)


class Melody(Data):
    notes: str
    """Names of notes with spaces between: `C D D# F G`."""


class Key(Data):
    key: Literal[KEYS]
    """For example `C# minor`."""


class FoundKey(Key):
    probability: float = 1.0
    """Of this key among all 24; a rule is always sure."""


class Pitches(Tokenizer):
    vocabulary_size = len(NOTES)

    def encode(self, raw):
        for name in raw.split() or [raw]:
            if name not in NOTES:
                raise ValueError(f"'notes': {name!r} is no note; the notes are {' '.join(NOTES)}")
        return {"ids": np.array([NOTES.index(name) for name in raw.split()])}


class Closeness(Metric):
    """As MIREX scores key finding: 1 for the key, 0.5 a fifth beside it, 0.3 for its relative, 0.2 for its parallel."""

    names = ("closeness",)

    def row(self, output, target):
        found, true = KEYS.index(output.key), KEYS.index(target.key)
        in_mode, across = {0: 1.0, 5: 0.5, 7: 0.5}, {0: 0.2, 9 if found > true else 3: 0.3}
        return [(in_mode if found // 12 == true // 12 else across).get((found - true) % 12, 0.0)]

    def scores(self, rows):
        return {"closeness": float(rows.mean())}


class FindKey(Task[Melody, Key, FoundKey]):
    Input, Target, Output = Melody, Key, FoundKey
    tokenizers = {"notes": "anyformer_toy.key:Pitches"}
    default_trunk = {"encoder": {"width": 64, "depth": 2, "attention": {"heads": 4}}}
    default_training = {"steps": 400, "optimizer": {"lr": 3e-3}, "schedule": {"warmup": 40}}
    demo = "anyformer_toy.key:demo"

    @classmethod
    def examples(cls):
        tunes = {
            "C C G G A A G F F E E D D C": "C major",  # Ah, vous dirai-je, maman
            "F# F# G A A G F# E D D E F# F# E E": "D major",  # Ode to Joy
            "F G A F F G A F A A# C A A# C": "F major",  # Frère Jacques
            "B A G A B B B A A A B D D": "G major",  # Mary had a little lamb
            "A# A# A# C D C A# D C C A#": "A# major",  # Au clair de la lune
            "A C D E F E D B G A B C A A G# A B G# E": "A minor",  # Greensleeves
            "E E B B A G F# E D E F# G A B": "E minor",  # God rest ye merry, gentlemen
            "D C# D E F F G G A A A": "D minor",  # Joshua fit the battle of Jericho
        }
        return [{"notes": notes, "key": key} for notes, key in tunes.items()]

    def ids(self, input):
        return self.tokens["notes"].encode(input.notes)["ids"]

    def encode(self, input, options):
        return [Sample({"source": self.ids(input)})]

    def learn(self, record, rng):
        return [Sample({"source": self.ids(record.input)}, {"label": np.array([KEYS.index(record.target.key)])})]

    def head(self, trunk):
        from anyformer.heads import Classifier

        return Classifier(trunk.output.width, len(KEYS), pool="last")

    def decode(self, input, samples, predictions, options):
        logits = predictions[0].values["logits"]
        shares = np.exp(logits - logits.max())
        return FoundKey(key=KEYS[logits.argmax()], probability=shares.max() / shares.sum())

    def metrics(self):
        return [Closeness()]

    def baselines(self):
        def profile(input):
            """The key whose profile goes best with how often each note occurs."""
            counts = np.bincount(self.ids(input), minlength=12) - len(self.ids(input)) / 12
            fits = [counts @ np.roll(each, tonic) for each in PROFILES for tonic in range(12)]
            return FoundKey(key=KEYS[np.argmax(fits)])

        return {"last_note": lambda input: FoundKey(key=KEYS[self.ids(input)[-1]]), "profile": profile}

    def draw(self, input, output, target=None):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.subplots()
        note, mode = output.key.split()
        for step in SCALES[mode]:
            axes.axhline((NOTES.index(note) + step) % 12, color="#dfe9f2", linewidth=12)
        axes.plot(self.ids(input), "s", color="#2f6fab")
        axes.set_yticks(range(12), NOTES)
        axes.set_title(f"{output.key} ({output.probability:.0%})" + (f"; in truth {target.key}" if target else ""))
        return figure


def melody(rng):
    """Notes that wander about a scale, now and then step out of it, and mostly come home in the end."""
    tonic, mode = int(rng.integers(12)), str(rng.choice(list(SCALES)))
    degree, ids = rng.choice([0, 2, 4]), []
    for _ in range(rng.integers(6, 20)):
        ids.append(tonic + SCALES[mode][degree % 7] + (rng.choice([-1, 1]) if rng.random() < 0.15 else 0))
        degree += rng.choice([-2, -1, -1, 0, 1, 1, 2, 4])
    ids += [tonic] if rng.random() < 0.6 else []
    return {"notes": " ".join(NOTES[id % 12] for id in ids), "key": f"{NOTES[tonic]} {mode}"}


def demo():
    rows = [melody(np.random.default_rng(seed)) for seed in range(4000)]
    return Demo("4,000 melodies that wander about a scale, computed", train=rows[500:], valid=rows[:500])
