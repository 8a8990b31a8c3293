// Asking the API: JSON in and out, errors with the API's own words, and a time after which no answer is an answer.

const TIMEOUT_MS = 5000;

/** An answer that is no success; `status` 0 where there was no answer. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether a key would help. */
  get locked() {
    return this.status === 401 || this.status === 403;
  }
}

/** The JSON of an answer, null for an empty one. Throws ApiError. */
export async function request(path, { method = "GET", body, timeoutMs = TIMEOUT_MS } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch (error) {
    throw new ApiError(0, error.name === "TimeoutError" ? `no answer within ${timeoutMs / 1000} s` : "the API does not answer");
  }
  const json = await answer.json().catch(() => null);
  if (answer.ok) return json;
  throw new ApiError(answer.status, json?.error?.message ?? `the API answered ${answer.status}`);
}
