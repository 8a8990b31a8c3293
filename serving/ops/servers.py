"""What there is to tell of servers, of the API's nodes, of the supervisor and of the models that serve."""

from collections.abc import Iterable, Iterator, Mapping

from serving.ops.probes import Answer
from serving.ops.processes import SUPERVISOR
from serving.ops.view import ServerView
from streams.events import Heartbeat, ModelState, Supervised


def server_views(
    answers: Mapping[str, Answer], supervised: Mapping[str, Supervised] | None, newest: Mapping[str, Heartbeat]
) -> list[ServerView]:
    """Return each server by its last answer, each API node and the supervisor by its last heartbeat."""
    children = supervised or {}
    servers = [_answering(name, answer, children.get(name)) for name, answer in answers.items()]
    return [*servers, *_nodes(newest, children.get("api")), *_supervisor(newest, supervised)]


def model_views(states: Iterable[ModelState], now_ms: int) -> list[ServerView]:
    """Return each learned model that serves or should; of a model that nobody trained there is nothing to tell."""
    return [_model(state, now_ms) for state in states if state.version or state.refused]


def _model(state: ModelState, now_ms: int) -> ServerView:
    serves = f"{state.version}, loaded {(now_ms - state.loaded_at) // 60_000} min ago" if state.version else "none serves"
    return ServerView(
        name=state.name,
        ok=not state.refused,
        detail=f"{serves}; refused {state.refused}" if state.refused else serves,
        restarts=None,
        answered_ms=None,
        rss_bytes=0,
    )


def _answering(name: str, answer: Answer, child: Supervised | None) -> ServerView:
    detail, ok = answer.detail, answer.ok
    if child is not None and not child.running:
        detail, ok = f"ended with status {child.last_status}; starts again soon", False
    return ServerView(
        name=name,
        ok=ok,
        detail=detail,
        restarts=None if child is None else child.restarts,
        answered_ms=answer.took_ms,
        rss_bytes=0 if child is None else child.rss_bytes,
    )


def _nodes(newest: Mapping[str, Heartbeat], child: Supervised | None) -> Iterator[ServerView]:
    nodes = {name: beat for name, beat in newest.items() if beat.process == "api"}
    for name, beat in nodes.items():
        yield ServerView(
            name="api" if len(nodes) == 1 else name,
            ok=True,
            detail=f"{beat.instance}, up {(beat.at - beat.started_at) // 1000} s",
            restarts=None if child is None else child.restarts,
            answered_ms=None,
            rss_bytes=beat.rss_bytes,
        )


def _supervisor(newest: Mapping[str, Heartbeat], supervised: Mapping[str, Supervised] | None) -> Iterator[ServerView]:
    beat = newest.get(SUPERVISOR)
    if beat is not None and supervised is not None:
        yield ServerView(
            name=SUPERVISOR,
            ok=True,
            detail=f"starts again what dies: keeps {len(supervised)} processes",
            restarts=None,
            answered_ms=None,
            rss_bytes=beat.rss_bytes,
        )
