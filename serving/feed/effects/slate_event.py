"""Tell the loop what was served: the slate, with propensities and the candidate pool."""

from collections.abc import Callable
from dataclasses import dataclass

from models.ranking.features import VERSION
from serving.feed.page import Page
from serving.models import policy_name
from streams.events import Slate, SlateItem


@dataclass(frozen=True)
class SlateEvent:
    """`publish(slate, trace)` queues the event and returns at once; `models(user_id)` names the models that serve a viewer."""

    publish: Callable[[Slate, str | None], None]
    policy_version: str
    models: Callable[[str], str]
    arm: str
    name: str = "slate-event"

    def follow(self, page: Page) -> None:
        query = page.query
        items = tuple(
            SlateItem(
                video_id=item.card.video.video_id,
                position=item.position,
                score=item.score,
                propensity=item.propensity,
                rivals=item.rivals,
                source=item.source,
                reason=item.reason,
                live=item.card.video.kind == "live",
                duration_ms=item.card.video.duration_ms,
                features=item.features,
            )
            for item in page.items
        )
        slate = Slate(
            request_id=query.request_id,
            user_id=query.user_id,
            items=items,
            served_at=query.now_ms,
            pool=page.pool,
            policy_version=policy_name(self.policy_version, self.models(query.user_id)),
            arm=self.arm,
            features_as_of=query.viewer.as_of,
            features_version=VERSION if any(item.features for item in page.items) else 0,
        )
        self.publish(slate, query.trace)
