"""What the user simulation agent costs: judgements a second, what a shared prefix saves, a plan's tokens and time.

Alone with its server: viewers who are told in so many tokens are judged by prompts that begin alike, and then by the same ones
behind a line of their own, so that nothing of a prompt was computed before. All by an adapter of the size that learning makes,
as plans are made by no other; and once by the base model, for what adapters cost. In a house, twice: a crowd watches while
pages are timed, plans made by interests, then by the agent. A plan's age is how old it is when a page is first made with it.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import typer

from bench import report, world
from bench.feed import pages
from bench.load import Load
from bench.stack import at_rest, own_settings
from streams.clock import now_ms
from streams.events import Plan, Slate

if TYPE_CHECKING:
    from headwater.settings import Settings
    from models.viewers.agent import Mind, UserAgent
    from simulation.settings import AudienceSettings
    from streams.follower import Followed

CATALOGUE = 2_000
# A crowd that asks for more is no audience of one machine with a language model on it.
CROWD_PAGES_PER_S = 2.0
VIDEOS_OF_A_PLAN = 8
ADAPTER = "agent-untaught"
WARM_UP_S = 5.0


def main(
    viewers: Annotated[int, typer.Option(min=2, help="viewers judged for, alone with the server")] = 12,
    memory: Annotated[int, typer.Option(min=50, help="tokens that tell of each")] = 400,
    seconds: Annotated[float, typer.Option(min=5, max=600, help="of timed pages, in each house")] = 60.0,
    rate: Annotated[int, typer.Option(min=1, help="timed pages a second")] = 20,
    house: Annotated[bool, typer.Option(help="measure in a house too")] = True,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure the agent with the local language model; ten minutes on two cores."""
    machine = report.machine()
    with own_settings() as settings:
        settings.agent.url = "local"
        alone = _alone(settings, viewers, memory, seed)
    figures: dict[str, float | dict[str, float]] = dict(alone)
    if house:
        without, with_agent = _house(False, seconds, rate, seed), _house(True, seconds, rate, seed)
        figures |= {
            "feed_p50_ms_without": report.percentile(without.latencies, 50),
            "feed_p50_ms_with_agent": report.percentile(with_agent.latencies, 50),
            "feed_p99_ms_without": report.percentile(without.latencies, 99),
            "feed_p99_ms_with_agent": report.percentile(with_agent.latencies, 99),
            "plans_by_agent": with_agent.by_agent,
            "plans_by_interests_meanwhile": with_agent.by_interests,
            "plan_age_at_use_p50_s": report.percentile(with_agent.ages_s, 50),
            "errors": without.errors + with_agent.errors,
        }
        figures["feed_p99_ratio"] = round(
            report.percentile(with_agent.latencies, 99) / report.percentile(without.latencies, 99), 3
        )
    report.finish(
        "viewers",
        figures,
        budgets={"prefix_speedup": "≥ 2", "feed_p99_ratio": "≤ 1.10", "errors": "0"},
        facts={
            "machine": machine, "alone": f"{viewers} viewers told in {memory} tokens, {VIDEOS_OF_A_PLAN} videos each",
            "house": f"{rate} pages/s timed for {seconds:g} s beside a crowd with {CROWD_PAGES_PER_S:g}/s, {CATALOGUE} videos",
            "seed": seed,
        },
    )  # fmt: skip


def _alone(settings: "Settings", viewers: int, memory: int, seed: int) -> dict[str, float]:
    from bench.adapters import untaught
    from headwater.language_model import adapter_of, language_model_of
    from models.viewers.agent import Mind, UserAgent, server_of

    counted: dict[str, int] = {}

    def count(name: str, by: int = 1) -> None:
        counted[name] = counted.get(name, 0) + by

    asked, mind = _viewers(viewers + 1, memory, seed), Mind(ADAPTER)
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(prefix="headwater-agent-")))
        for file, content in untaught(settings).items():
            (folder / file).write_bytes(content)
        served = held.enter_context(language_model_of(settings, report.console))
        patient = served.model_copy(update={"timeout_s": 120.0, "plan_within_s": 120.0})
        held.enter_context(adapter_of(served, ADAPTER, folder))
        chat = held.enter_context(server_of(patient))
        agent = held.enter_context(UserAgent(chat, patient, count=count))
        for each in (Mind(), mind):
            agent.rank(*asked[0], mind=each)
        by_base = [_took(partial(agent.rank, *each)) for each in asked[1:]]
        counted.clear()
        shared = [_took(partial(agent.rank, *each, mind=mind)) for each in asked[1:]]
        tokens = counted["agent_tokens/asked"]
        with ThreadPoolExecutor(VIDEOS_OF_A_PLAN) as threads:
            apart = [_took(partial(_judge_apart, agent, threads, *each, mind)) for each in asked[1:]]
    made = len(asked) - 1
    return {
        "judged_per_s": round(made * VIDEOS_OF_A_PLAN / sum(shared), 2),
        "prefix_speedup": round(sum(apart) / sum(shared), 2),
        "adapter_slowdown": round(sum(shared) / sum(by_base), 2),
        "tokens_per_plan": round(tokens / made),
        "plan_p50_ms": round(report.percentile([took * 1000 for took in shared], 50), 1),
    }


def _took(work: "Callable[[], object]") -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _judge_apart(agent: "UserAgent", threads: ThreadPoolExecutor, words: str, videos: Sequence[str], mind: "Mind") -> None:
    """Ask the same questions, each about a viewer who is told of behind a line that no other has."""
    told = [f"Viewer {hash((words, video))}.\n{words}" for video in videos]
    list(threads.map(partial(agent.judge, mind=mind), told, [[video] for video in videos]))


def _viewers(count: int, memory: int, seed: int) -> "list[tuple[str, list[str]]]":
    """Return viewers in about so many tokens, with the videos of a plan for each, out of real titles."""
    from bench.feedback import Catalogue
    from models.viewers.memory import about, words_of
    from streams.features import UserHistory, ViewerFeatures

    catalogue, rng, now = Catalogue(seed=seed), np.random.default_rng(seed), now_ms()
    ids = sorted(catalogue.all)
    made = []
    for number in range(count):
        chosen = [ids[row] for row in rng.choice(len(ids), 60, replace=False)]
        # A summary as a perception has it, of several titles' length.
        summary = "; ".join(catalogue.all[each].title for each in chosen[:4])
        told = {video: msgspec.structs.replace(catalogue.all[video], summary=summary) for video in chosen}
        history = UserHistory(
            user_id=f"v{number}", as_of=now, video_ids=chosen[8:], weights=[0.6] * 52, seen_at=[now - 60_000] * 52, followed=[],
            blocked=[],
        )  # fmt: skip
        viewer = ViewerFeatures(user_id=f"v{number}", history=history)
        words = words_of(viewer, told.get, now_ms=now, tokens=memory)
        made.append((words, [about(told[video]) for video in chosen[:VIDEOS_OF_A_PLAN]]))
    return made


@dataclass
class InHouse:
    """What was seen of one house: the latencies of timed pages, ms, and plans by who made them, with their ages at use, s."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    by_agent: int = 0
    by_interests: int = 0
    ages_s: list[float] = field(default_factory=list)


def _house(agent: bool, seconds: float, rate: int, seed: int) -> InHouse:
    """Time pages in a house whose plans are made by the agent, or by interests."""
    from bench.adapters import untaught
    from bench.stack import publish
    from headwater.decisions import release
    from headwater.house import House
    from models.learning.gate import Learned, Verdict
    from simulation.settings import AudienceSettings
    from streams.follower import Follower
    from streams.topics import PERCEPTIONS, PLANS, SLATES

    made, seen = world.make(CATALOGUE, seed=seed), Plans()
    with own_settings() as settings:
        if agent:
            settings.agent.url = "local"
        with House(settings, say=lambda line: report.console.print(line, style="dim")) as running:
            publish(running.settings.kafka, PERCEPTIONS, made.perceptions())
            if agent:
                verdict = Verdict(True, "a bench's", {})
                release(running.settings, "agent", Learned(untaught(running.settings), verdict))
            at_rest()
            follower = Follower(running.settings.kafka, [PLANS, SLATES], seen.take, name="bench").start(timeout_s=30.0)
            crowd = AudienceSettings(viewers=20, pages_per_s=CROWD_PAGES_PER_S, instructions=False)
            with closing(follower), _crowd(running.address, crowd):
                users = [f"timed-{number}" for number in range(200)]
                warm = rate * WARM_UP_S
                found = InHouse()
                for answer in Load(running.address, rate, pages, users, int(rate * (WARM_UP_S + seconds))):
                    found.errors += not answer.ok
                    if answer.number >= warm:
                        found.latencies.append((answer.ended - answer.due) * 1000)
    found.by_agent, found.by_interests, found.ages_s = seen.by_agent, seen.by_interests, seen.ages_s
    return found


@contextmanager
def _crowd(url: str, settings: "AudienceSettings") -> "Iterator[None]":
    """Let an audience watch meanwhile, in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=_watch, args=(url, settings), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _watch(url: str, settings: "AudienceSettings") -> None:
    import asyncio

    from simulation.audience import Audience
    from simulation.client import Client

    async def watch() -> None:
        async with Client(url) as client:
            await Audience(client, settings).run()

    asyncio.run(watch())


@dataclass
class Plans:
    """Plans as they are made and first used: of a viewer the newest, when it was made, and whether a page had it yet."""

    by_agent: int = 0
    by_interests: int = 0
    ages_s: list[float] = field(default_factory=list)
    made_at: dict[str, int] = field(default_factory=dict)

    def take(self, batch: "list[Followed]") -> None:
        """Take in plans and pages, in the order of their topics."""
        for each in batch:
            match each.event:
                case Plan() as plan if plan.policy_version.startswith("agent"):
                    self.by_agent += 1
                    self.made_at[plan.user_id] = plan.created_at
                case Plan():
                    self.by_interests += 1
                case Slate() as slate if slate.served_at >= self.made_at.get(slate.user_id, slate.served_at + 1):
                    self.ages_s.append((slate.served_at - self.made_at.pop(slate.user_id)) / 1000)


if __name__ == "__main__":
    typer.run(main)
