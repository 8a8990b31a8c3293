"""Who makes plans in the rerank flow: interests, or the user simulation agent where one is configured and measured to help."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from headwater.settings import Settings
from models.settings import LOCAL
from models.viewers.adapters import Adapters
from models.viewers.agent import UserAgent, server_of
from models.viewers.agent_ranker import AgentRanker
from models.viewers.interest_ranker import InterestRanker
from models.viewers.policies import Policies
from models.viewers.policy import CANARY, NAME
from serving.models import Models
from streams.clock import now_ms
from streams.flows.stopping import STOPPING
from streams.follower import Follower
from streams.heartbeat import Pulse
from streams.ports import Ranker, Videos
from streams.topics import RELEASES


def ranker(settings: Settings, held: ExitStack, pulse: Pulse, interests: InterestRanker, videos: Videos) -> Ranker:
    """Return who ranks for viewers; what it needs is open as long as `held` is.

    Raises:
        ConnectionError: it is to be the local stack's language model, and no stack that runs has one.
    """
    agent = settings.agent
    if not agent.url:
        return interests
    if agent.url == LOCAL:
        raise ConnectionError(
            f"expected a running stack with a language model, got none (agent.url is {LOCAL!r}): "
            "start `headwater up` with the same setting, or set the address of a server"
        )
    server = held.enter_context(server_of(agent))
    adapters = held.enter_context(Adapters(agent.url, api_key=agent.api_key))
    policies = Policies(adapters, agent, canary_share=settings.learning.canary_share, count=pulse.count)
    models = Models({name: policies.slot(name) for name in (NAME, CANARY)}, PulseLoads(pulse), now_ms)
    pulse.models(lambda: tuple(models.states.values()))
    # Not waited for: a server that hangs would keep the flow from starting, and until adapters are loaded interests rank.
    held.enter_context(closing(Follower(settings.kafka, [RELEASES], models.follow, name="policies").start()))
    return AgentRanker(
        interests,
        held.enter_context(UserAgent(server, agent, count=pulse.count)),
        policies,
        videos,
        agent,
        budget=token_budget(agent.tokens_per_minute),
        stopping=STOPPING.is_set,
        count=pulse.count,
    )


def token_budget(per_minute: int) -> Callable[[int], bool]:
    """Return what says, when asked, whether so many more tokens may be used now; 0 a minute: always."""
    if not per_minute:
        return lambda tokens: True
    # A moving window would keep an entry for each token.
    limiter, rate = SlidingWindowCounterRateLimiter(MemoryStorage()), RateLimitItemPerMinute(per_minute)
    return lambda tokens: limiter.hit(rate, "tokens", cost=tokens)


@dataclass(frozen=True)
class PulseLoads:
    """Counts releases of adapters by what became of them, for operators."""

    pulse: Pulse

    def expect(self, name: str) -> None:
        """Begin at nothing: a series that appears with its first failure is no alarm's."""
        for outcome in ("loaded", "refused"):
            self.pulse.count(f"agent_adapter/{outcome}", 0)

    def loaded(self, name: str) -> None:
        self.pulse.count("agent_adapter/loaded")

    def refused(self, name: str) -> None:
        self.pulse.count("agent_adapter/refused")
