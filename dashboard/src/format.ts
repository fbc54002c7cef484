// Numbers, times and names as people read them. Pure: what time it is, is told.

const UNITS: [string, number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];
const WHOLE = new Intl.NumberFormat("en");

/** "3 min ago", "in 2 h". */
export function relative(time: string, nowMs: number): string {
  const difference = Date.parse(time) - nowMs;
  for (const [unit, ms] of UNITS) {
    const whole = Math.floor(Math.abs(difference) / ms);
    if (whole > 0) return difference > 0 ? `in ${whole} ${unit}` : `${whole} ${unit} ago`;
  }
  return "now";
}

/** In the reader's own zone: "28 Nov 2026, 16:39:32". */
export function absolute(time: string, timeZone?: string): string {
  const zone = timeZone === undefined ? {} : { timeZone };
  return new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium", ...zone });
}

/** "85 ms", "1.2 s", "3 min 20 s", "2 h 5 min", "4 d". */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 3_600_000) return two(ms, 60_000, "min", 1_000, "s");
  if (ms < 86_400_000) return two(ms, 3_600_000, "h", 60_000, "min");
  return two(ms, 86_400_000, "d", 3_600_000, "h");
}

function two(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((ms % large) / small);
  return `${Math.floor(ms / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : WHOLE.format(value);
}

/** "99.2 %"; a rate of nothing is none. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const percents = value * 100;
  return `${percents === 0 || percents === 100 ? percents : percents.toFixed(percents > 99 || percents < 1 ? 2 : 1)} %`;
}

export function bytes(size: number): string {
  if (size < 1_000) return `${size} B`;
  return size < 1_000_000 ? `${(size / 1_000).toFixed(1)} kB` : `${(size / 1_000_000).toFixed(1)} MB`;
}

/** `invalid_recipient` → "invalid recipient". */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** `message.delivered` → "delivered". */
export function shortType(type: string): string {
  return type.replace(/^message\./, "");
}
