"""The feed of each arm: pipelines over one catalogue, made when the first viewer needs them."""

from collections.abc import Callable

from serving.experiments.assignment import Arms, Assignment
from serving.experiments.settings import ExperimentSettings, feed_of
from serving.feed.pipeline import FeedPipeline
from serving.settings import FeedSettings


class Variants:
    """Pipelines by their viewers' arms; `make(settings, label)` composes one."""

    def __init__(
        self, experiments: ExperimentSettings, feed: FeedSettings, make: Callable[[FeedSettings, str], FeedPipeline]
    ) -> None:
        """Make the feeds of single arms.

        Raises:
            ValueError: an arm's feed can't be composed.
        """
        self._running = experiments.running
        self._feed = feed
        self._make = make
        self._assignment = Assignment(experiments.running)
        self._made: dict[Arms, FeedPipeline] = {}
        # At the start, so that an arm that can't be is found by who wrote it and not by its first viewer.
        for which, experiment in enumerate(self._running):
            for arm in range(len(experiment.arms)):
                alone: list[int | None] = [None] * len(self._running)
                alone[which] = arm
                try:
                    self._of(tuple(alone))
                except ValueError as error:
                    raise ValueError(f"experiment {experiment.name}, arm {experiment.arms[arm].name}: {error}") from error

    def of(self, user_id: str) -> FeedPipeline:
        """Return the feed that a viewer's pages come from."""
        return self._of(self._assignment.arms_of(user_id))

    def _of(self, arms: Arms) -> FeedPipeline:
        pipeline = self._made.get(arms)
        if pipeline is None:
            pairs = zip(self._running, arms, strict=True)
            chosen = [experiment.arms[arm] for experiment, arm in pairs if arm is not None]
            pipeline = self._make(feed_of(self._feed, chosen), self._assignment.label(arms))
            self._made[arms] = pipeline
        return pipeline
