// One sentence on how everything is, worst first. Pure: a view in, words out.

import { milliseconds, plural, text } from "./format.js";

export const FEED_BUDGET_MS = 25;
export const FRESHNESS_BUDGET_MS = { p50: 25, p99: 100 };
// A flow speaks every second; missing one word is chance, two are a sign.
export const QUIET_S = 2;
// Seconds of work at the present rate that a flow may be behind before it is worth a word, and the least lag that counts.
const BEHIND_S = 5;
const LEAST_LAG = 200;

const DOWN = {
  broker: "The broker is down: events are refused until it is back, and apps send them again; pages are made from memory.",
  redis: "Redis is down: pages are made from memory; features catch up when it is back.",
  triton: "Triton is down: new videos are known by their titles; their frames are perceived when it is back.",
  api: "The API reports trouble: apps keep their events and send them again.",
};

/** The worst that can be said of a view, and what else: {tone: "good"|"warn"|"bad", sentence, also: [sentence]}. */
export function verdict(view) {
  const said = [...servers(view), ...flows(view), ...budgets(view)];
  said.sort((one, other) => (other.tone === "bad") - (one.tone === "bad"));
  if (said.length) return { tone: said[0].tone, sentence: said[0].sentence, also: said.slice(1).map((one) => one.sentence) };
  return { tone: "good", sentence: "All well.", also: [] };
}

/** How a flow is, in a word for people: running, quiet, silent, restarting. */
export function condition(flow) {
  return flow.state === "running" && flow.silent_s >= QUIET_S ? "quiet" : flow.state;
}

/** Whether a flow is so far behind that its events wait for seconds. */
export function isBehind(flow) {
  return flow.lag_events > Math.max(LEAST_LAG, flow.events_per_s * BEHIND_S);
}

export function freshness(view) {
  const measured = view.flows.find((flow) => flow.name.endsWith("profile"));
  return { p50: measured?.freshness_p50_ms ?? null, p99: measured?.freshness_p99_ms ?? null };
}

function* servers(view) {
  for (const server of view.servers) {
    if (server.ok) continue;
    // What served before it still does.
    if (server.name.endsWith(".canary")) yield { tone: "warn", sentence: `A canary is refused: ${server.name}: ${server.detail}.` };
    else yield { tone: "bad", sentence: DOWN[server.name] ?? `${server.name} is down: ${server.detail}.` };
  }
  if (view.feed.degraded && view.servers.every((server) => server.ok)) {
    yield { tone: "warn", sentence: "Pages are made from memory: the feature store does not answer in time." };
  }
}

function* flows(view) {
  for (const flow of view.flows) {
    const state = condition(flow);
    const waiting = flow.lag_events ? ` ${plural(flow.lag_events, "event")} wait in the broker and count when it is back.` : "";
    if (state === "restarting") yield { tone: "bad", sentence: `The flow ${flow.name} ended and is started again.${waiting}` };
    else if (state === "silent") yield { tone: "bad", sentence: `The flow ${flow.name} has said nothing for ${Math.floor(flow.silent_s)} s.${waiting}` };
    else if (state === "quiet") yield { tone: "warn", sentence: `The flow ${flow.name} has been quiet for ${Math.floor(flow.silent_s)} s.` };
    else if (isBehind(flow)) yield { tone: "warn", sentence: `The flow ${flow.name} is behind by ${plural(flow.lag_events, "event")}.` };
  }
}

function* budgets(view) {
  const { p50, p99 } = freshness(view);
  if (p99 !== null && p99 > FRESHNESS_BUDGET_MS.p99) yield over("Features are late: p99", p99, FRESHNESS_BUDGET_MS.p99);
  else if (p50 !== null && p50 > FRESHNESS_BUDGET_MS.p50) yield over("Features are late: p50", p50, FRESHNESS_BUDGET_MS.p50);
  if (view.feed.p99_ms !== null && view.feed.p99_ms > FEED_BUDGET_MS) yield over("Pages are slow: p99", view.feed.p99_ms, FEED_BUDGET_MS);
  if (view.feed.errors_per_s > 0) yield { tone: "bad", sentence: "Requests for pages fail: the API's log says why." };
}

function over(what, ms, budget) {
  return { tone: "warn", sentence: `${what} ${text(milliseconds(ms))}, budget ${budget} ms.` };
}
