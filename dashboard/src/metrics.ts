// The answer of /v1/metrics as charts take it. Pure.

import type { COUNTS, MetricsRow, RATES } from "./shapes";

export interface Range {
  name: string;
  label: string;
  ms: number;
  interval: "minute" | "hour" | "day";
}

export const RANGES: readonly Range[] = [
  { name: "1h", label: "Hour", ms: 3_600_000, interval: "minute" },
  { name: "24h", label: "Day", ms: 86_400_000, interval: "hour" },
  { name: "7d", label: "Week", ms: 7 * 86_400_000, interval: "hour" },
  { name: "30d", label: "Month", ms: 30 * 86_400_000, interval: "day" },
];

export function rangeOf(name: string | null): Range {
  return RANGES.find((range) => range.name === name) ?? (RANGES[0] as Range);
}

/** Unix seconds. */
export function timesOf(rows: readonly MetricsRow[]): number[] {
  return rows.map((row) => Date.parse(row.time) / 1_000);
}

type Measure = (typeof COUNTS)[number] | (typeof RATES)[number];

export function valuesOf(
  rows: readonly MetricsRow[],
  measures: readonly Measure[],
): { name: string; values: (number | null)[] }[] {
  return measures.map((measure) => ({
    name: measure.replace("_rate", ""),
    values: rows.map((row) => row[measure]),
  }));
}
