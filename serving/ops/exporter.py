"""The operator's view as Prometheus metrics: what the page shows, under names that stay. docs/metrics.md explains each."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.experiments.view import ExperimentView
from serving.ops.ops import Ops
from serving.ops.view import FairnessView, FlowView, OpsView, ServerView

_QUANTILES = ("0.5", "0.99")


class OpsCollector(Collector):
    """Makes metrics of the newest view; asked often it costs no more than the writing of them."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops

    def describe(self) -> Iterator[Metric]:
        # Without it the registry would collect once to learn the names, before there is anything to tell.
        yield from ()

    def collect(self) -> Iterator[Metric]:
        view = self._ops.newest().view
        build = GaugeMetricFamily("headwater_build_info", "which build this is", labels=["version", "policy_version"])
        build.add_metric([view.version, view.policy_version], 1)
        yield build
        yield from _flows(view.flows)
        yield from _counters(view.flows)
        yield from _servers(view.servers)
        yield from _processes(view)
        yield from _topics(view)
        yield from _catalogue(view)
        yield from _fairness(view.fairness)
        yield from _experiments(view.experiments)
        yield from self._rest(view)

    def _rest(self, view: OpsView) -> Iterator[Metric]:
        yield _gauge("headwater_supervised", "1 where a supervisor is heard", view.supervised)
        yield _gauge("headwater_sse_streams", "event streams that are open", view.sse_clients)
        yield _gauge("headwater_dead_letters_open", "dead letters that were not replayed", view.dead_letters_open)
        seen = CounterMetricFamily("headwater_dead_letters", "dead letters that this node heard of")
        seen.add_metric([], self._ops.letters.index.seen)
        yield seen
        yield _gauge("headwater_purges_pending", "takedowns and erasures that wait for a store", self._ops.purges.pending())
        cpu = CounterMetricFamily("headwater_ops_cpu_seconds", "CPU time of gathering all this")
        cpu.add_metric([], self._ops.cpu_s)
        yield cpu


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=float(value))


def _flows(flows: list[FlowView]) -> Iterator[Metric]:
    up = GaugeMetricFamily("headwater_flow_up", "1 while the flow says that it runs", labels=["flow"])
    lag = GaugeMetricFamily("headwater_flow_lag_events", "events the flow has not taken yet", labels=["flow"])
    rate = GaugeMetricFamily("headwater_flow_events_per_second", "events the flow takes", labels=["flow"])
    silent = GaugeMetricFamily("headwater_flow_silent_seconds", "time since the flow was heard", labels=["flow"])
    fresh = GaugeMetricFamily("headwater_freshness_seconds", "event accepted to readable", labels=["flow", "quantile"])
    letters = GaugeMetricFamily("headwater_flow_dead_letters_open", "its dead letters not replayed", labels=["flow"])
    for flow in flows:
        name = [flow.name]
        up.add_metric(name, flow.state == "running")
        lag.add_metric(name, flow.lag_events)
        rate.add_metric(name, flow.events_per_s)
        silent.add_metric(name, flow.silent_s)
        letters.add_metric(name, flow.dead_letters)
        for quantile, value in zip(_QUANTILES, (flow.freshness_p50_ms, flow.freshness_p99_ms), strict=True):
            if value is not None:
                fresh.add_metric([*name, quantile], value / 1000)
    yield from (up, lag, rate, silent, fresh, letters)


def _counters(flows: list[FlowView]) -> Iterator[Metric]:
    """Yield what flows count; a counter's name is its kind and its labels, "encoder/text_encoder/ok"."""
    steps = CounterMetricFamily("headwater_perception_steps", "steps of understanding videos", labels=["step", "outcome"])
    step_s = CounterMetricFamily("headwater_perception_step_seconds", "time that steps took", labels=["step"])
    asked = CounterMetricFamily("headwater_encoder_requests", "requests to models", labels=["flow", "model", "outcome"])
    asked_s = CounterMetricFamily("headwater_encoder_seconds", "time that models were waited for", labels=["flow", "model"])
    decisions = CounterMetricFamily("headwater_agent_decisions", "answers of the agent", labels=["outcome"])
    tokens = CounterMetricFamily("headwater_agent_tokens", "tokens of its questions and answers", labels=["kind"])
    plans = CounterMetricFamily("headwater_agent_plans", "plans it was to make, by what came of them", labels=["outcome"])
    plan_s = CounterMetricFamily("headwater_agent_plan_seconds", "time that its plans took")
    adapters = CounterMetricFamily("headwater_agent_adapters", "adapters by what became of them", labels=["outcome"])
    swap_s = CounterMetricFamily("headwater_agent_swap_seconds", "time that loading adapters took")
    for flow in flows:
        for name, value in flow.counters.items():
            match name.split("/"):
                case ["step", step, outcome]:
                    steps.add_metric([step, outcome], value)
                case ["step_ms", step]:
                    step_s.add_metric([step], value / 1000)
                case ["encoder", model, outcome]:
                    asked.add_metric([flow.name, model, outcome], value)
                case ["encoder_ms", model]:
                    asked_s.add_metric([flow.name, model], value / 1000)
                case ["agent", outcome]:
                    decisions.add_metric([outcome], value)
                case ["agent_tokens", kind]:
                    tokens.add_metric([kind], value)
                case ["agent_plan", outcome]:
                    plans.add_metric([outcome], value)
                case ["agent_plan_ms"]:
                    plan_s.add_metric([], value / 1000)
                case ["agent_adapter", outcome]:
                    adapters.add_metric([outcome], value)
                case ["agent_swap_ms"]:
                    swap_s.add_metric([], value / 1000)
    yield from (steps, step_s, asked, asked_s, decisions, tokens, plans, plan_s, adapters, swap_s)


def _servers(servers: list[ServerView]) -> Iterator[Metric]:
    up = GaugeMetricFamily("headwater_server_up", "1 while the server answers", labels=["server"])
    took = GaugeMetricFamily("headwater_server_answer_seconds", "time it took to answer", labels=["server"])
    for server in servers:
        up.add_metric([server.name], server.ok)
        if server.answered_ms is not None:
            took.add_metric([server.name], server.answered_ms / 1000)
    yield from (up, took)


def _processes(view: OpsView) -> Iterator[Metric]:
    restarts = CounterMetricFamily("headwater_process_restarts", "times it was started again", labels=["process"])
    rss = GaugeMetricFamily("headwater_process_resident_memory_bytes", "its memory", labels=["process"])
    cpu = GaugeMetricFamily("headwater_process_cpu_cores", "processor cores that it uses", labels=["process"])
    processes: list[FlowView | ServerView] = [*view.flows, *view.servers]
    for process in processes:
        if process.restarts is not None:
            restarts.add_metric([process.name], process.restarts)
        if process.rss_bytes:
            rss.add_metric([process.name], process.rss_bytes)
    for flow in view.flows:
        cpu.add_metric([flow.name], flow.cpu_share)
    yield from (restarts, rss, cpu)


def _topics(view: OpsView) -> Iterator[Metric]:
    total = CounterMetricFamily("headwater_topic_events", "events that the topic was given", labels=["topic"])
    rate = GaugeMetricFamily("headwater_topic_events_per_second", "events that the topic is given", labels=["topic"])
    for topic in view.topics:
        total.add_metric([topic.name], topic.events)
        rate.add_metric([topic.name], topic.events_per_s)
    yield from (total, rate)


def _experiments(experiments: list[ExperimentView]) -> Iterator[Metric]:
    viewers = GaugeMetricFamily("headwater_experiment_viewers", "viewers that count", labels=["experiment", "arm"])
    broken = GaugeMetricFamily(
        "headwater_experiment_guardrail_broken", "1 where an arm costs too much", labels=["experiment", "arm", "metric"]
    )
    mismatch = GaugeMetricFamily("headwater_experiment_mismatch", "1 where arms are of wrong sizes", labels=["experiment"])
    for experiment in experiments:
        mismatch.add_metric([experiment.name], experiment.mismatch)
        for arm in experiment.arms:
            viewers.add_metric([experiment.name, arm.name], arm.viewers)
            for each in arm.metrics:
                if each.guardrail:
                    broken.add_metric([experiment.name, arm.name, each.metric], each.guardrail == "broken")
    yield from (viewers, broken, mismatch)


def _catalogue(view: OpsView) -> Iterator[Metric]:
    catalogue = view.catalogue
    yield _gauge("headwater_catalogue_live_rooms", "live rooms that may be shown", catalogue.live_rooms)
    yield _gauge("headwater_catalogue_authors", "authors of videos that may be shown", catalogue.authors)
    yield _gauge("headwater_new_videos", "videos with exploration budget left", catalogue.new_videos)
    if catalogue.exposure_gini is not None:
        yield _gauge("headwater_exposure_gini", "how unevenly authors are shown, 0 to 1", catalogue.exposure_gini)
    age = GaugeMetricFamily("headwater_catalogue_age_videos", "videos by age in hours, at most", labels=["up_to_h"])
    for bucket in catalogue.ages:
        age.add_metric([f"{bucket.up_to_h:g}"], bucket.videos)
    yield age


def _fairness(fairness: FairnessView) -> Iterator[Metric]:
    known = {
        "headwater_served_new_share": ("share of exposure that new videos had", fairness.new_share),
        "headwater_served_new_share_target": ("share that is wanted", fairness.new_share_target),
        "headwater_served_author_gini": ("how unevenly this node shows authors", fairness.author_gini),
        "headwater_served_author_gini_target": ("the most that is wanted", fairness.author_gini_target),
        "headwater_kept_places": ("places of ten kept for new videos", fairness.places),
        "headwater_author_weight": ("most that an author's exposure moves a value", fairness.author_weight),
    }
    for name, (description, value) in known.items():
        # Without a value it has no sample: a target of 0 would be a wish.
        yield GaugeMetricFamily(name, description, value=value)
