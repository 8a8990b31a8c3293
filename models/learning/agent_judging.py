"""How the agent's policies compare on held-out feedback: what each would choose, in what order, and what that was worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.learning.gate import Verdict
from models.learning.gate import judged as verdict_on
from models.learning.rewards import apart, ndcg
from models.ranking.evaluation.off_policy import ESS_FLOOR, Estimate, Weighed, estimate
from models.viewers import policy
from models.viewers.questions import Logged, Question

# Viewers by how many videos are known of them: a language model is known to win only where these are few.
SEGMENTS = ((0, 5), (6, 20), (21, 50), (51, 1_000_000))
# Questions of a segment from which on a difference in it is looked at.
LEAST_OF_SEGMENT = 30
# Of an order, the videos whose likeness is looked at: what is seen first.
FIRST = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What one policy makes of n questions, (n,) each: whether its choice is right, and the NDCG of its order; and how unlike
    the first videos of that are, half of one less their cosine."""

    right: Floats
    ndcg: Floats
    diversity: Floats

    def figures(self, name: str) -> dict[str, float]:
        """Return the means, and of the choice half its interval of 95 %."""
        half = 1.96 * float(self.right.std()) / max(1, len(self.right)) ** 0.5
        means = {f"{figure}_{name}": float(values.mean()) for figure, values in vars(self).items()}
        means = {figure.replace("right_", "choice_"): mean for figure, mean in means.items()}
        return {name: round(value, 5) for name, value in (means | {f"choice_{name}_half": half}).items()}


def judged(scores: Sequence[Floats], questions: Sequence[Question]) -> Judged:
    """Return what orders by `scores`, (candidates,) for each question, are worth."""
    both = list(zip(scores, questions, strict=True))
    return Judged(
        np.array([float(np.argmax(score) == question.wanted) for score, question in both]),
        np.array([ndcg(_order(score), question.gains) for score, question in both]),
        np.array([_unlike(_order(score)[:FIRST], question) for score, question in both]),
    )


def by_order(questions: Sequence[Question]) -> Judged:
    """Return how well the page's own order answers, which no agent was asked for: the first place is its choice."""
    return judged([-np.asarray(question.columns["positions"], np.float64) for question in questions], questions)


def worth(chances: Sequence[Floats], logged: Sequence[Logged], *, seed: int) -> Estimate:
    """Return what a policy would have earned at places that were left to chance, if it drew by the odds that it gives each."""
    odds = [each / np.clip(1.0 - each, 1e-6, None) for each in chances]
    weights = [
        each[one.question.wanted] / each.sum() / one.shares[one.question.wanted] for each, one in zip(odds, logged, strict=True)
    ]
    nothing = np.zeros(len(logged))
    _, viewers = np.unique([one.question.user_id for one in logged], return_inverse=True)
    rewards = np.array([one.reward for one in logged])
    return estimate(Weighed(viewers, np.array(weights), rewards, nothing, nothing), seed=seed)


def segments_of(ours: Judged, others: Judged, questions: Sequence[Question]) -> tuple[policy.Segment, ...]:
    """Return in which segments the choices are surely better than the others."""
    known = np.array([question.known for question in questions])
    made = []
    for least, most in SEGMENTS:
        within = (known >= least) & (known <= most)
        differences = ours.right[within] - others.right[within]
        helps = len(differences) >= LEAST_OF_SEGMENT and bool(
            differences.mean() > 1.96 * differences.std(ddof=1) / len(differences) ** 0.5
        )
        made.append(policy.Segment(least=least, most=most, helps=helps, cases=len(differences)))
    return tuple(made)


def verdict(
    ours: Judged, no_agent: Judged, running: Judged | None, earned: Estimate | None, paid: float, figures: Mapping[str, float]
) -> Verdict:
    """Return the gate's verdict: choices surely better than without an agent and not surely worse than what serves.

    Where enough was left to chance, it must not be sure to earn less than what was `paid` in the mean at those places.
    """
    made = verdict_on(ours.right, baseline=no_agent.right, running=None if running is None else running.right, name="choice")
    made = replace(made, figures={**figures, **made.figures})
    if (
        made.passed
        and earned is not None
        and earned.ess >= ESS_FLOOR
        and earned.snips.high is not None
        and earned.snips.high < paid
    ):
        return replace(made, passed=False, reason=f"it would have earned {earned.snips.mean:.3f}, surely less than {paid:.3f}")
    return made


def _unlike(first: Sequence[int], question: Question) -> float:
    embeddings = question.columns.get("embeddings")
    return apart(first, embeddings) if embeddings is not None else 0.0


def _order(scores: Floats) -> list[int]:
    return [int(row) for row in np.argsort(-scores, kind="stable")]
