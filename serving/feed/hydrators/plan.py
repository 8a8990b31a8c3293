"""The viewer's plan, made off the request path, with what the viewer asked for in words."""

from dataclasses import dataclass, replace

import numpy as np

from serving.feed.query import Query, Wishes
from serving.viewers import Plans
from streams.codec import unpack_vector


@dataclass(frozen=True)
class PlanHydrator:
    plans: Plans
    name: str = "plan"

    async def hydrate(self, query: Query) -> Query:
        plan = self.plans.of(query.user_id, now_ms=query.now_ms)
        if plan is None or not plan.steering:
            return replace(query, plan=plan)
        wishes = Wishes(
            texts=tuple(steer.text for steer in plan.steering),
            vectors=np.stack([unpack_vector(steer.embedding) for steer in plan.steering]),
            weights=np.array([steer.weight for steer in plan.steering], dtype=np.float32),
        )
        return replace(query, plan=plan, wishes=wishes)
