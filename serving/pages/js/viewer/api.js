/**
 * The public API as this page uses it: one function an endpoint, one kind of error. Nothing else here speaks HTTP, except the
 * upload, which needs XHR for its progress, and the two event streams.
 *
 * @typedef {object} Item one place of a page
 * @property {string} video_id
 * @property {number} position
 * @property {string} title
 * @property {string} author_id
 * @property {string[]} topics
 * @property {string | null} media_url
 * @property {string | null} [poster_url]
 * @property {number | null} duration_ms
 * @property {string} kind
 * @property {number} score
 * @property {number} propensity
 * @property {string} source
 * @property {string} reason
 * @property {boolean} new
 *
 * @typedef {object} Page
 * @property {string} request_id
 * @property {Item[]} items
 * @property {number} as_of
 * @property {{items: {video_id: string, found_by: string[], parts: Record<string, number>}[]}} [trace]
 *
 * @typedef {{id: string, header: string}} Trace
 */

import { request } from "../http.js";

/** Called at each 401: the page then asks for a key. */
export const hooks = { keyNeeded: () => {} };

/** @returns {Trace} a W3C trace context that asks to be sampled */
export function newTrace() {
  const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
  const id = hex(16);
  return { id, header: `00-${id}-${hex(8)}-01` };
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{json?: unknown, trace?: Trace, keepalive?: boolean}} [options]
 * @returns {Promise<any>} the answer's JSON; null where it has no body
 */
async function ask(method, path, { json, trace, keepalive } = {}) {
  try {
    return await request(path, { method, json, keepalive, headers: trace ? { traceparent: trace.header } : {} });
  } catch (error) {
    if (error.status === 401) hooks.keyNeeded();
    throw error;
  }
}

/**
 * @param {string} userId
 * @param {{limit?: number, unshown?: string[], trace?: Trace}} [options] `unshown`: videos of earlier pages that this page replaces
 * @returns {Promise<Page>}
 */
export function feed(userId, { limit = 10, unshown = [], trace } = {}) {
  const query = new URLSearchParams({ user_id: userId, limit: String(limit), explain: "true" });
  for (const id of unshown) query.append("unshown", id);
  return ask("GET", `/v1/feed?${query}`, { trace });
}

/** @param {string[]} ids @returns {Promise<{videos: any[]}>} those of the videos that may be shown */
export function videos(ids) {
  return ask("GET", `/v1/videos?${new URLSearchParams(ids.map((id) => ["ids", id]))}`);
}

/** @param {object[]} events @param {{trace?: Trace, keepalive?: boolean}} [options] */
export function interact(events, options) {
  return ask("POST", "/v1/interactions", { json: events, ...options });
}

/** @param {object} instruction @param {Trace} trace */
export function instruct(instruction, trace) {
  return ask("POST", "/v1/instructions", { json: instruction, trace });
}

/** @param {string} userId @returns {Promise<any>} what became of it, store by store */
export function erase(userId) {
  return ask("DELETE", `/v1/users/${encodeURIComponent(userId)}`);
}

/** @returns {Promise<{open: boolean, scopes: string[]}>} */
export function session() {
  return ask("GET", "/v1/session");
}

/** @param {string} key */
export function openSession(key) {
  return ask("POST", "/v1/session", { json: { key } });
}
