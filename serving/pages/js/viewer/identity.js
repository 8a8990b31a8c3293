/**
 * Who watches, and what this browser remembers of it: the viewer's id, the session's id and small settings. Storage may be
 * refused (private windows, full disks): then all of it lasts as long as the page.
 */

const SESSION_GAP_MS = 30 * 60_000; // the same pause ends a sitting in the profile flow

/** localStorage that never throws; what can't be kept is kept in memory. */
export const storage = {
  memory: new Map(),
  /** @param {string} key @returns {string | null} */
  get(key) {
    try {
      return localStorage.getItem(key) ?? this.memory.get(key) ?? null;
    } catch {
      return this.memory.get(key) ?? null;
    }
  },
  /** @param {string} key @param {string} value */
  set(key, value) {
    try {
      localStorage.setItem(key, value);
      this.memory.delete(key);
    } catch {
      this.memory.set(key, value);
    }
  },
  /** @param {string} key */
  remove(key) {
    this.memory.delete(key);
    try {
      localStorage.removeItem(key);
    } catch {
      /* there was nothing to remove */
    }
  },
  /** @param {string} prefix @returns {string[]} */
  keys(prefix) {
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
    } catch {
      return [...this.memory.keys()].filter((key) => key.startsWith(prefix));
    }
  },
};

/** @returns {string} a new, random viewer id */
export function newViewerId() {
  return `viewer-${crypto.randomUUID().slice(0, 8)}`;
}

/** @returns {string} */
export function viewerId() {
  let id = storage.get("headwater.viewer");
  if (!id) {
    id = newViewerId();
    storage.set("headwater.viewer", id);
  }
  return id;
}

/** @param {string} id */
export function becomeViewer(id) {
  storage.set("headwater.viewer", id);
  session.id = crypto.randomUUID();
}

const session = { id: crypto.randomUUID(), lastAt: Date.now() };

/** @returns {string} the id of this sitting; a pause of half an hour begins another */
export function sessionId() {
  const now = Date.now();
  if (now - session.lastAt > SESSION_GAP_MS) session.id = crypto.randomUUID();
  session.lastAt = now;
  return session.id;
}
