// Asking the API: JSON in and out, errors with the API's own words, and a time after which no answer is an answer.

const TIMEOUT_MS = 10_000;

/** What the API, or the way to it, said no with. `status` is 0 where no answer came. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{message: string, type?: string, index?: number}} body
   * @param {number | null} [retryAfterMs]
   */
  constructor(status, body, retryAfterMs = null) {
    super(body.message);
    this.status = status;
    this.type = body.type ?? "error";
    this.index = body.index;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** Whether a key would help. */
  get locked() {
    return this.status === 401 || this.status === 403;
  }
}

/**
 * @param {string} path
 * @param {{method?: string, json?: unknown, headers?: Record<string, string>, keepalive?: boolean, timeoutMs?: number}} [options]
 * @returns {Promise<any>} the answer's JSON; null where it has no body
 * @throws {ApiError}
 */
export async function request(path, { method = "GET", json, headers = {}, keepalive = false, timeoutMs = TIMEOUT_MS } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: json === undefined ? headers : { "Content-Type": "application/json", ...headers },
      keepalive,
      body: json === undefined ? undefined : JSON.stringify(json),
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (answer.ok) return answer.status === 204 ? null : await answer.json();
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(0, { message: late ? `no answer within ${timeoutMs / 1_000} s` : "the API does not answer", type: "unreachable" });
  }
  throw await refusal(answer.status, answer.headers.get("Retry-After"), () => answer.json());
}

/**
 * @param {number} status
 * @param {string | null} retryAfter seconds, as HTTP says it
 * @param {() => Promise<any> | any} read the body
 * @returns {Promise<ApiError>}
 */
export async function refusal(status, retryAfter, read) {
  let body;
  try {
    body = (await read()).error;
  } catch {
    body = undefined;
  }
  const seconds = Number(retryAfter);
  return new ApiError(status, body ?? { message: `the API answered ${status}` }, retryAfter && seconds >= 0 ? seconds * 1000 : null);
}
