// Filters of a list as they stand in the address of the page, and as the API takes them. Pure.

import type { Parameters } from "./api";

export interface FilterField {
  name: string;
  label: string;
  /** A closed set of values; without one, any text. */
  options?: readonly string[];
  kind?: "text" | "time";
  placeholder?: string;
}

/** What the page's address says, as far as it is a filter; `metadata[key]` is one for each key. */
export function filtersOf(address: URLSearchParams, fields: readonly FilterField[]): Record<string, string> {
  const known = new Set(fields.map((field) => field.name));
  const found: Record<string, string> = {};
  for (const [name, value] of address) {
    if (value && (known.has(name) || /^metadata\[.+\]$/.test(name))) found[name] = value;
  }
  return found;
}

/** The next address when a form was sent: a new question starts at its first page. */
export function addressOf(form: Iterable<[string, FormDataEntryValue]>): URLSearchParams {
  const address = new URLSearchParams();
  const entered = new Map<string, string>();
  for (const [name, value] of form) {
    const text = String(value).trim();
    if (text) entered.set(name, text);
  }
  const key = entered.get("metadata_key");
  const value = entered.get("metadata_value");
  entered.delete("metadata_key");
  entered.delete("metadata_value");
  for (const [name, text] of entered) address.set(name, text);
  if (key && value) address.set(`metadata[${key}]`, value);
  return address;
}

/** For the API: local times, as the browser's field gives them, become moments. */
export function parametersOf(filters: Record<string, string>, fields: readonly FilterField[]): Parameters {
  const times = new Set(fields.filter((field) => field.kind === "time").map((field) => field.name));
  return Object.fromEntries(
    Object.entries(filters).map(([name, value]) => [name, times.has(name) ? moment(value) : value]),
  );
}

function moment(local: string): string {
  const time = new Date(local);
  return Number.isNaN(time.getTime()) ? local : time.toISOString();
}
