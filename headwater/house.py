"""The whole of Headwater on this machine: servers, flows and API, started in order, kept alive, stopped in order."""

import shutil
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

import msgspec
from confluent_kafka import KafkaException
from redis import Redis
from redis.exceptions import RedisError

from deploy.local import vllm
from deploy.local.endpoints import Claim
from deploy.local.interrupts import interruptible
from deploy.local.ports import choose
from deploy.local.process import StartFailed, tail
from deploy.local.stack import Stack
from headwater.backoff import Backoff
from headwater.children import Child, cool_down, warm_up
from headwater.flows import FLOWS
from headwater.releases import announce
from headwater.roll import Roll
from headwater.settings import Settings
from streams.heartbeat import Pulse, beating
from streams.kafka import check_broker, create_topics
from streams.lossy import LossyProducer

CHECK_EVERY_S = 0.2

Say = Callable[[str], None]
"""Tells the person at the terminal one line."""


class House:
    """Everything that `headwater up` runs. `settings` has the addresses once it has started.

    Start it from a thread that outlives it, and call `keep`, or what dies stays dead.
    """

    def __init__(self, settings: Settings, say: Say) -> None:
        """Choose ports and find programs, so that what is missing is said before anything starts.

        Raises:
            AlreadyRunning, PortTaken, BinaryMissing: with what to do.
        """
        self.settings = settings.model_copy(deep=True)
        self.settings.api.port = choose(settings.api.port, setting="api.port", host=settings.api.host)
        self._say = say
        self._stack = Stack(
            settings.stack,
            kafka=settings.kafka,
            features=settings.features,
            triton=settings.triton,
            var=settings.var,
            language_model=settings.wants_vllm,
        )
        self._claim = Claim(settings.var)
        self._children: dict[str, Child] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._roll = Roll()
        self._heartbeat = ExitStack()

    @property
    def address(self) -> str:
        """The API's address."""
        return f"http://{self.settings.api.host}:{self.settings.api.port}"

    def start(self) -> None:
        """Start everything and return when the API serves.

        Raises:
            StartFailed: with the end of the log; what had started is stopped again.
        """
        began = time.monotonic()
        try:
            # Importing Feast and the rest is the longest part of a start: it goes on while the servers start.
            warm_up("headwater.warm")
            self._stack.launch()
            for name in self._stack.endpoints.embedded:
                self._roll.started(name, self._stack.pid(name))
            self.settings = self.settings.at(self._stack.endpoints)
            self._open_broker(self._stack.wait_ready("broker"))
            self._done("redis", self._stack.endpoints.redis, self._stack.wait_ready("redis"))
            self._drop_features()
            self._apply_features()
            if vllm.NAME in self._stack.endpoints.embedded:
                # Before the flows: what they perceive while it starts would go without its words for good.
                self._done("vllm", self._stack.endpoints.vllm, self._stack.wait_ready(vllm.NAME))
            self._start_children()
            self._done("triton", self._stack.endpoints.triton_grpc, self._stack.wait_ready("triton"))
            self._wait_for_api()
        except BaseException:
            self.stop()
            raise
        self._backoffs = {name: self._backoff() for name in (*self._stack.endpoints.embedded, *self._children)}
        self._tell_of_itself()
        self._claim.publish(msgspec.structs.replace(self._stack.endpoints, api=self.address.removeprefix("http://")))
        self._say(f"live after {time.monotonic() - began:.1f} s; logs are in {self.settings.var / 'log'}")

    def keep(self, until: Event) -> None:
        """Start again what dies, after a while that grows, until the event is set."""
        while not _is_set(until):
            self.check()

    def check(self) -> None:
        """Look once at every process, and start what died and has waited long enough."""
        ended = self._stack.ended()
        ended |= {name: status for name, child in self._children.items() if (status := child.ended()) is not None}
        for name, status in ended.items():
            backoff = self._backoffs[name]
            if (wait_s := backoff.died(now=time.monotonic())) is not None:
                self._roll.ended(name, status)
                self._say(f"{name} ended with status {status}; it starts again in {wait_s:g} s; its log: {self._log(name)}")
            if backoff.is_due(now=time.monotonic()):
                self._restart(name)
                backoff.started(now=time.monotonic())
        if not self._children and "broker" not in ended:
            # The broker runs, but could not be opened when it came back.
            self._try("flows and api", self._reopen)

    def stop(self) -> None:
        """Stop everything: first what lets events in, then what works on them, then the servers. Safe to call twice."""
        self._heartbeat.close()
        if api := self._children.pop("api", None):
            api.stop(timeout_s=self.settings.stack.stop_timeout_s)
        self._stop_children()
        cool_down()
        self._stack.stop()
        self._claim.release()

    def _restart(self, name: str) -> None:
        def start() -> None:
            if name == "broker":
                # What it held is gone, and with it the meaning of every offset: all that talks to it begins again.
                self._stop_children()
                took_s = self._stack.restart(name)
                self._roll.started(name, self._stack.pid(name))
                self._reopen(took_s)
            elif name in self._children:
                self._children[name].start()
                self._roll.started(name, self._children[name].pid)
            elif name == vllm.NAME:
                # Not waited for: that takes a minute, in which the others want looking after.
                self._stack.relaunch(name)
                self._roll.started(name, self._stack.pid(name))
            else:
                self._stack.restart(name)
                self._roll.started(name, self._stack.pid(name))

        self._try(name, start)

    def _try(self, name: str, start: Callable[[], None]) -> None:
        try:
            start()
        except (StartFailed, OSError, ValueError, KafkaException, RedisError) as error:
            self._say(f"{name}: {error}")
        else:
            self._say(f"{name} runs again")

    def _reopen(self, took_s: float = 0.0) -> None:
        self._open_broker(took_s)
        self._drop_features()
        self._start_children()

    def _drop_features(self) -> None:
        """Empty the embedded Redis with the embedded broker: flows that begin anew would write over it, viewer by viewer."""
        if {"broker", "redis"} <= set(self._stack.endpoints.embedded):
            host, port = self._stack.endpoints.redis.rsplit(":", 1)
            with Redis(host=host, port=int(port)) as redis:
                if redis.dbsize():
                    redis.flushdb()
                    self._say("the features of the last run were dropped with it")

    def _open_broker(self, took_s: float) -> None:
        check_broker(self.settings.kafka, timeout_s=10.0)
        embedded = "broker" in self._stack.endpoints.embedded
        how_long = ", which forgets all when it stops" if embedded else ""
        self._done("broker", self.settings.kafka.bootstrap_servers + how_long, took_s)
        recovery = self.settings.var / "recovery"
        if embedded and recovery.exists():
            # Offsets of topics that are gone: resumed from, they would skip the first events of the new ones.
            shutil.rmtree(recovery)
            self._say("the embedded broker starts empty: the flows' recovery snapshots of its last run were dropped")
        started = time.monotonic()
        created = create_topics(self.settings.kafka)
        self._done("topics", f"{len(created)} created", time.monotonic() - started)
        if embedded and (told := announce(self.settings)):
            # It forgot the releases with all else; what was learned is on disk.
            self._say(f"models of the last run serve: {', '.join(told)}")

    def _apply_features(self) -> None:
        started = time.monotonic()
        apply = self._child("apply", "headwater.wiring:apply_features", self.settings)
        apply.finish(timeout_s=self.settings.stack.start_timeout_s)
        self._children.clear()
        self._done("features", "views registered", time.monotonic() - started)

    def _start_children(self) -> None:
        for name in FLOWS:
            self._child(f"flow-{name}", "headwater.wiring:run_flow", name, self.settings)
        if self.settings.learning.every_s:
            self._child("learner", "headwater.wiring:run_learner", self.settings)
        self._child("api", "headwater.wiring:run_api", self.settings)
        for child in self._children.values():
            self._roll.started(child.name, child.pid)

    def _tell_of_itself(self) -> None:
        """Send a heartbeat from now on; it goes on while the broker is away, and is not heard then."""
        producer = self._heartbeat.enter_context(closing(LossyProducer(self.settings.kafka)))
        self._heartbeat.enter_context(beating(Pulse("supervisor", children=self._roll.call), producer))

    def _child(self, name: str, target: str, *arguments: object) -> Child:
        child = self._children[name] = Child(name, target, *arguments, log=self._log(name))
        child.start()
        return child

    def _stop_children(self) -> None:
        for child in self._children.values():
            child.ask_to_stop()
        # One deadline for all of them: one after the other, those that hang would take it each.
        deadline = time.monotonic() + self.settings.stack.stop_timeout_s
        while self._children:
            _, child = self._children.popitem()
            child.stop(timeout_s=max(0.0, deadline - time.monotonic()))

    def _wait_for_api(self) -> None:
        """Return once the API is ready, which it is when it knows the catalogue."""
        started = time.monotonic()
        deadline = started + self.settings.stack.start_timeout_s
        reason: object = "no answer"
        while time.monotonic() < deadline:
            for name, child in self._children.items():
                if (status := child.ended()) is not None:
                    raise StartFailed(f"{name} ended with status {status} while starting; {tail(self._log(name))}")
            with interruptible():
                try:
                    urllib.request.urlopen(f"{self.address}/readyz", timeout=2.0).close()
                except OSError as error:
                    reason = error
                    time.sleep(0.05)
                else:
                    self._done("flows", ", ".join(FLOWS), time.monotonic() - started)
                    return self._done("api", self.address, time.monotonic() - started)
        raise StartFailed(f"the API was not ready within {deadline - started:g} s: {reason}; {tail(self._log('api'))}")

    def _backoff(self) -> Backoff:
        return Backoff(longest_s=self.settings.stack.restart_max_s, now=time.monotonic())

    def _log(self, name: str) -> Path:
        return self.settings.var / "log" / f"{name}.log"

    def _done(self, what: str, detail: str, took_s: float) -> None:
        self._say(f"{what:<9} {took_s:5.1f} s  {detail}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _is_set(event: Event) -> bool:
    """Wait a little for the event, and tell whether it is set."""
    with interruptible():
        return event.wait(CHECK_EVERY_S)
