"""Covers: `bp-arrays sample`."""

from __future__ import annotations

import re

import pytest

import bp_arrays as bp

VOCABULARY = "\nabcé"


@pytest.fixture
def model(tmp_path):
    """A model of the text abcéabcé..., in lines of eight."""
    net = bp.Sequential(bp.Embedding(5, 8), bp.TransformerBlock(2, causal=True), bp.Linear(5))
    model = bp.Model(net, bp.InputSpec(9, "index"), device="cpu", seed=0)
    line = [1, 2, 3, 4, 1, 2, 3, 4]
    x, t = [[0, *line]] * 32, [[*line, 0]] * 32
    bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.02), epochs=60)
    model.metadata["vocabulary"] = VOCABULARY
    model.save(tmp_path / "m")
    return "m"


def test_the_prompt_is_continued(run, model):
    words = ("--length", 4, "--temperature", 0, "--device", "cpu")
    assert run("sample", model, *words, "--prompt", "\nab") == (0, "\nabcéab\n", "")
    assert run("sample", model, *words) == (0, "abcé\n", "")


def test_the_seed_and_top_k_are_used(run, model):
    words = ("--length", 30, "--temperature", 50, "--device", "cpu")
    texts = [run("sample", model, *words, *more).out for more in
             ((), ("--seed", 0), ("--seed", 1), ("--top-k", 1))]  # fmt: skip
    assert texts[0] == texts[1] != texts[2]
    assert texts[3].startswith("abcéabc")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prompt", "abx"), "--prompt: expected characters of the text .* got 'x'"),
        (("--temperature", "-1"), "--temperature: expected a finite number >= 0"),
        (("--top-k", "0"), "--top-k: expected an integer >= 1"),
    ],
)
def test_bad_options_are_one_line(run, model, words, message):
    result = run("sample", model, "--device", "cpu", *words)
    assert result.code == 2 and result.out == ""
    assert len(result.err.splitlines()) == 1 and re.search(message, result.err)


def test_a_model_without_characters_is_refused(run, model, tmp_path):
    damaged = bp.load(tmp_path / "m", device="cpu")
    damaged.metadata["vocabulary"] = "abc"
    damaged.save(tmp_path / "m")
    error = run("sample", "m", "--device", "cpu").err
    assert "an output for each of the 3 characters" in error
    bp.Model(bp.Linear(1), 2, device="cpu").save(tmp_path / "m")
    assert 'expected a model of characters, with model.metadata["vocabulary"]' in (
        run("sample", "m", "--device", "cpu").err
    )
