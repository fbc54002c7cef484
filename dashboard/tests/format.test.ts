import { expect, test } from "vitest";
import { absolute, bytes, count, duration, percent, relative } from "../src/format";

const NOON = Date.parse("2026-11-28T12:00:00Z");

test("a moment is told from now, both ways", () => {
  expect(relative("2026-11-28T11:57:00Z", NOON)).toBe("3 min ago");
  expect(relative("2026-11-28T14:00:30Z", NOON)).toBe("in 2 h");
  expect(relative("2026-11-28T12:00:00.400Z", NOON)).toBe("now");
});

test("a moment is told exactly, in the reader's zone", () => {
  expect(absolute("2026-11-28T23:30:00Z", "Europe/Berlin")).toBe("29 Nov 2026, 00:30:00");
});

test.each([
  [85, "85 ms"],
  [1_234, "1.2 s"],
  [200_000, "3 min 20 s"],
  [7_500_000, "2 h 5 min"],
  [4 * 86_400_000, "4 d"],
])("%d ms are %s", (ms, text) => expect(duration(ms)).toBe(text));

test("a rate of nothing is none, and near the ends more digits are seen", () => {
  expect([null, 0, 1, 0.5, 0.9987, 0.0012].map(percent)).toEqual(["–", "0 %", "100 %", "50.0 %", "99.87 %", "0.12 %"]);
});

test("numbers and sizes", () => {
  expect([count(1234567), count(null), bytes(999), bytes(1_559), bytes(52_428_800)]).toEqual([
    "1,234,567",
    "–",
    "999 B",
    "1.6 kB",
    "52.4 MB",
  ]);
});
