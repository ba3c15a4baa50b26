"""Covers: damaged files of every kind; with more of them: `python -m tests.damage`."""

from __future__ import annotations

import pytest

from tests.damage.damage import mutations, read_damaged
from tests.damage.samples import samples

COUNT = 300
"""Files per reader."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return samples(tmp_path_factory.mktemp("samples"))


def test_damaged_files_are_refused_in_one_line_or_read(files, tmp_path):
    for sample in files:
        outcome = read_damaged(sample, COUNT, 1, tmp_path)
        assert not outcome.others, sample.reader
        assert outcome.refused > 0, sample.reader
        assert outcome.refused + outcome.read == COUNT


def test_the_files_are_valid_before_they_are_damaged(files, tmp_path):
    for sample in files:
        (tmp_path / sample.name).write_bytes(sample.content)
        assert sample.read(tmp_path / sample.name) is not None


def test_damage_depends_on_seed_and_number_only():
    content = bytes(range(256))
    first = list(mutations(content, 40, 3))
    assert first[:20] == list(mutations(content, 20, 3)) != list(mutations(content, 20, 4))
    assert all(damaged != content for damaged in first)
