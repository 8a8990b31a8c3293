// Numbers as people read them: every function returns {value, unit}, so that a page can set the unit smaller than its number.

export const NONE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const upToTwoDigits = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const clockFace = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

const missing = (unit = "") => ({ value: NONE, unit });
const known = (number) => typeof number === "number" && Number.isFinite(number);

/** A number with few digits: 0.42, 4.2, 42.0, 4,200. */
function short(number) {
  const size = Math.abs(number);
  if (size >= 99.95 || Number.isInteger(number)) return whole.format(number);
  return size >= 0.995 ? oneDigit.format(number) : upToTwoDigits.format(number);
}

export function count(number, unit = "") {
  return known(number) ? { value: whole.format(number), unit } : missing(unit);
}

export function perSecond(number, unit = "/s") {
  return known(number) ? { value: short(number), unit } : missing(unit);
}

/** Milliseconds, as seconds from one second on. */
export function milliseconds(ms) {
  if (!known(ms)) return missing("ms");
  if (Math.abs(ms) >= 999.5) return { value: short(ms / 1000), unit: "s" };
  if (ms > 0 && ms < 0.005) return { value: "< 0.01", unit: "ms" };
  return { value: Math.abs(ms) >= 9.95 ? whole.format(ms) : ms < 0.095 ? upToTwoDigits.format(ms) : oneDigit.format(ms), unit: "ms" };
}

export function bytes(number) {
  if (!known(number)) return missing("MB");
  if (number < 1e3) return { value: whole.format(number), unit: "bytes" };
  if (number < 1e6) return { value: short(number / 1e3), unit: "kB" };
  if (number < 1e9) return { value: number < 9.95e6 ? oneDigit.format(number / 1e6) : whole.format(number / 1e6), unit: "MB" };
  return { value: twoDigits.format(number / 1e9), unit: "GB" };
}

/** A share of one, in per cent. */
export function percent(share) {
  if (!known(share)) return missing("%");
  return { value: share > 0 && share < 0.0995 ? oneDigit.format(share * 100) : whole.format(share * 100), unit: "%" };
}

/** An index without a unit, from 0 to 1. */
export function index(number) {
  return known(number) ? { value: twoDigits.format(number), unit: "" } : missing();
}

/** A length of time in the two largest units that matter: 8 s, 3 min 20 s, 4 h 2 min, 3 d 4 h. */
export function duration(seconds) {
  if (!known(seconds)) return missing("s");
  const total = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60];
  if (days) return { value: `${days} d${hours ? ` ${hours}` : ""}`, unit: hours ? "h" : "" };
  if (hours) return { value: `${hours} h${minutes ? ` ${minutes}` : ""}`, unit: minutes ? "min" : "" };
  if (minutes) return total < 600 && total % 60 ? { value: `${minutes} min ${total % 60}`, unit: "s" } : { value: `${minutes}`, unit: "min" };
  return { value: `${total}`, unit: "s" };
}

/** Hours as a label: 1 h, 24 h, 7 d. */
export function hours(number) {
  return number >= 48 && number % 24 === 0 ? `${number / 24} d` : number < 1 ? `${Math.round(number * 60)} min` : `${short(number)} h`;
}

/** `{value, unit}` in one string. */
export function text({ value, unit }) {
  if (!unit || value === NONE) return value;
  return unit === "%" || unit.startsWith("/") ? `${value}${unit}` : `${value} ${unit}`;
}

/** The time of day of Unix ms, with the date where that is not today. */
export function clock(ms) {
  const date = new Date(ms);
  return (date.toDateString() === new Date().toDateString() ? clockFace : dayAndClock).format(date);
}

/** How long before `now` something was: "just now", "12 s ago". */
export function ago(ms, now) {
  const seconds = (now - ms) / 1000;
  return seconds < 1 ? "just now" : `${text(duration(seconds))} ago`;
}

/** A word in the number that its count asks for: 1 event, 2 events. */
export function plural(number, one, many = `${one}s`) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}
