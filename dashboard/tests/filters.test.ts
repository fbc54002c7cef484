import { expect, test } from "vitest";
import { addressOf, type FilterField, filtersOf, parametersOf } from "../src/filters";

const FIELDS: FilterField[] = [
  { name: "status", label: "Status", options: ["delivered"] },
  { name: "since", label: "Since", kind: "time" },
];

test("the address keeps only what is a filter here", () => {
  const address = new URLSearchParams("status=delivered&after=cursor&nonsense=1&metadata[order]=42&since=");
  expect(filtersOf(address, FIELDS)).toEqual({ status: "delivered", "metadata[order]": "42" });
});

test("a form becomes an address without empty filters and without a cursor", () => {
  const form = [
    ["status", " delivered "],
    ["since", ""],
    ["metadata_key", "order"],
    ["metadata_value", "42"],
  ] as [string, string][];
  expect([...addressOf(form)]).toEqual([
    ["status", "delivered"],
    ["metadata[order]", "42"],
  ]);
});

test("half a metadata filter is none", () => {
  expect([...addressOf([["metadata_key", "order"]])]).toEqual([]);
});

test("local times become moments, what is no time stays for the API to refuse", () => {
  const local = "2026-11-28T12:00:00";
  expect(parametersOf({ since: local }, FIELDS)).toEqual({ since: new Date(local).toISOString() });
  expect(parametersOf({ since: "yesterday" }, FIELDS)).toEqual({ since: "yesterday" });
});
