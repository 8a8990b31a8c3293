// The numbers of this moment that matter most, in one row.

import { h } from "../dom.js";
import { stat } from "./figure.js";
import { count, milliseconds, perSecond } from "./format.js";
import { FEED_BUDGET_MS, FRESHNESS_BUDGET_MS, freshness, isBehind } from "./verdict.js";

export function now(section) {
  const stats = {
    interactions_per_s: stat("interactions_per_s"),
    freshness_p99: stat("freshness_p99"),
    lag: stat("lag"),
    pages_per_s: stat("pages_per_s"),
    feed_p99: stat("feed_p99"),
    feed_errors: stat("feed_errors"),
    dead_letters_open: stat("dead_letters_open"),
    accepted: stat("accepted"),
  };
  section.replaceChildren(h("dl", { class: "now" }, Object.values(stats).map((one) => one.element)));
  return {
    update(view) {
      const { p99 } = freshness(view);
      const late = p99 > FRESHNESS_BUDGET_MS.p99;
      const slow = view.feed.p99_ms > FEED_BUDGET_MS;
      const interactions = view.topics.find((topic) => topic.name === "interactions");
      const lag = view.flows.reduce((sum, flow) => sum + flow.lag_events, 0);
      stats.interactions_per_s.set(perSecond(interactions?.events_per_s ?? null));
      stats.freshness_p99.set(milliseconds(p99), late ? "warn" : "", "over budget");
      stats.lag.set(count(lag, lag === 1 ? "event" : "events"), view.flows.some(isBehind) ? "warn" : "", "behind");
      stats.pages_per_s.set(perSecond(view.feed.pages_per_s));
      stats.feed_p99.set(milliseconds(view.feed.p99_ms), slow ? "warn" : "", "over budget");
      stats.feed_errors.set(perSecond(view.feed.errors_per_s), view.feed.errors_per_s > 0 ? "bad" : "", "pages fail");
      stats.dead_letters_open.set(count(view.dead_letters_open), view.dead_letters_open ? "warn" : "", "to be looked at");
      stats.accepted.set(count(view.events_accepted));
    },
  };
}
