// Staying in touch with the API: everything once, then the stream; after a loss again, a little later each time, with the history in between.

import { ApiError, request } from "../http.js";

// Samples come every second: after this long without one, something is wrong.
const SILENCE_MS = 4000;
// No answer for so long is an answer: operators shall know.
const TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;

/**
 * Follow the API for ever. `onHistory(history)` and `onSample(sample)` get what it tells, `onState(state)` how it is:
 * {name: "live"}, {name: "locked"}, {name: "down", reason, retryAt}. `unlock(error)` resolves once a key was taken.
 */
export async function follow({ onHistory, onSample, onState, unlock }) {
  let retryMs = FIRST_RETRY_MS;
  for (;;) {
    try {
      await checkSession();
      const view = await request("/v1/ops", { timeoutMs: TIMEOUT_MS });
      onSample({ view, values: null });
      onHistory(await request("/v1/ops/history", { timeoutMs: 3 * TIMEOUT_MS }));
      await stream((sample) => {
        retryMs = FIRST_RETRY_MS;
        onState({ name: "live" });
        onSample(sample);
      });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.locked) {
        onState({ name: "locked" });
        await unlock(error);
        continue;
      }
      // Pages of many operators must not come back in step.
      const waitMs = retryMs * (0.75 + Math.random() / 2);
      onState({ name: "down", reason: error.message, retryAt: Date.now() + waitMs });
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      retryMs = Math.min(retryMs * 1.7, LONGEST_RETRY_MS);
    }
  }
}

/** Throw ApiError where a key is needed: asked beforehand, so that a first visit is no failed request. */
async function checkSession() {
  const { open, scopes } = await request("/v1/session", { timeoutMs: TIMEOUT_MS });
  if (open || scopes.includes("admin")) return;
  throw new ApiError(scopes.length ? 403 : 401, { message: "an admin key is needed" });
}

/** Hand on samples until the stream ends or falls silent; then throw ApiError. */
function stream(onSample) {
  return new Promise((_, reject) => {
    const source = new EventSource("/v1/ops/stream");
    const end = (reason) => {
      clearTimeout(silence);
      source.close();
      reject(new ApiError(0, { message: reason }));
    };
    const listen = () => setTimeout(() => end(`nothing heard for ${SILENCE_MS / 1000} s`), SILENCE_MS);
    let silence = listen();
    source.addEventListener("sample", (event) => {
      clearTimeout(silence);
      silence = listen();
      onSample(JSON.parse(event.data));
    });
    // The browser's own retries say nothing of what is wrong: a plain request does.
    source.addEventListener("error", () => end("the stream ended"));
  });
}
