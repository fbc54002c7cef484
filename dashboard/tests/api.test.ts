import { expect, test, vi } from "vitest";
import { ask, type Failure, failureOf, withParameters } from "../src/api";

test("what is not given does not stand in the address", () => {
  const given = { status: "", limit: 25, after: null, "metadata[a b]": "1&2" };
  expect(withParameters("/v1/messages", given)).toBe("/v1/messages?limit=25&metadata%5Ba+b%5D=1%262");
  expect(withParameters("/v1/messages")).toBe("/v1/messages");
});

test("an error of the API is told with its hint and each field", () => {
  const errors = [{ field: "since", code: "invalid_time", message: "An RFC 3339 time." }];
  const error = { code: "validation_error", message: "A parameter is wrong.", hint: "Correct it." };
  expect(failureOf(422, JSON.stringify({ error, errors, request_id: "req_1" }))).toMatchObject({
    message: "A parameter is wrong.",
    hint: "Correct it.",
    faults: errors,
    requestId: "req_1",
    absent: false,
  });
});

test("an endpoint that is not there is told from a thing that is not there", () => {
  const of = (message: string, hint: string) =>
    failureOf(404, JSON.stringify({ error: { code: "not_found", message, hint } })).absent;
  expect(of("Not Found", "Check the method and the path; every path of the API begins with /v1.")).toBe(true);
  expect(of("There is no such message.", "Check the id. An id of another project is not found either.")).toBe(false);
});

test("what stands between may answer in its own way", () => {
  expect(failureOf(502, "<html>Bad Gateway</html>").message).toContain("502");
});

test("a server that can not be reached is a failure with advice, too", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  await expect(ask("sk_live_x", "/v1/messages")).rejects.toMatchObject({
    code: "unreachable",
  } satisfies Partial<Failure>);
  vi.unstubAllGlobals();
});
