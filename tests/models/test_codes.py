"""Semantic ids: what is alike shares its first codes, and each level brings them nearer to the embedding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.retrieval.codes import Codes


def kinds(count: int, each: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(0)
    centres = 10 * rng.normal(size=(count, 16))
    return (np.repeat(centres, each, axis=0) + rng.normal(size=(count * each, 16))).astype(np.float32)


def test_videos_of_a_kind_share_their_first_code_and_others_do_not() -> None:
    embeddings = kinds(300, 4)
    first = Codes.made_of(embeddings, 2, seed=0).of(embeddings)[:, 0].reshape(300, 4)
    assert (first == first[:, :1]).all(axis=1).mean() > 0.9
    assert len(np.unique(first)) > 200


def test_each_level_leaves_less_over() -> None:
    embeddings = kinds(100, 8)
    codes = Codes.made_of(embeddings, 3, seed=0)
    flat = codes.centres.reshape(-1, 16)
    left = [
        np.linalg.norm(embeddings - flat[codes.of(embeddings)[:, :level]].sum(axis=1), axis=1).mean() for level in (1, 2, 3)
    ]
    assert left[0] > left[1] > left[2]


def test_the_same_seed_gives_the_same_codes() -> None:
    embeddings = kinds(50, 4)
    one, other = (Codes.made_of(embeddings, 2, seed=7).of(embeddings) for _ in range(2))
    assert (one == other).all()


@given(levels=st.integers(0, 3), videos=st.integers(2, 40))
def test_the_features_are_of_unit_length_whatever_the_levels(levels: int, videos: int) -> None:
    embeddings = np.random.default_rng(videos).normal(size=(videos, 8)).astype(np.float32)
    codes = Codes.made_of(embeddings, levels, seed=0)
    weights = codes.weights(embeddings)
    assert weights.shape == (videos, len(codes))
    assert np.linalg.norm(weights.toarray(), axis=1) == pytest.approx([1.0 if levels else 0.0] * videos)
