import { expect, test } from "vitest";
import type { Attempt, MailEvent, Status } from "../src/shapes";
import { actionsOf, conversation, stretches } from "../src/story";

const BEGAN = Date.parse("2026-11-28T12:00:00Z");

function event(status: Status, afterMs: number, next?: number): MailEvent {
  const data = next === undefined ? { status } : { status, next_attempt_at: new Date(BEGAN + next).toISOString() };
  const time = new Date(BEGAN + afterMs).toISOString();
  return { id: `evt_${afterMs}`, type: `message.${status}`, subject: "msg_1", time, sequence: 1, data };
}

function attempt(phase: string, tls: string | null): Attempt {
  const none = { source_address: null, mx_host: null, mx_address: null, reply: null, code: null, enhanced_code: null };
  return { number: 1, started_at: "", finished_at: "", path: "mx:main", phase, tls, ...none };
}

test("a message that is through: each state lasts until the next, the shares are the whole picture", () => {
  const story = stretches([event("queued", 0), event("accepted", 5), event("delivered", 60_005)], true, BEGAN + 90_000);
  expect(story.map(({ status, fromMs, toMs, open }) => [status, toMs - fromMs, open])).toEqual([
    ["queued", 5, false],
    ["accepted", 60_000, false],
    ["delivered", 0, false],
  ]);
  expect(story.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
  expect(story[1]?.share).toBeGreaterThan(story[0]?.share ?? 1);
});

test("a message that waits: its last state reaches to the next attempt, or to now where that is over", () => {
  const waiting = [event("queued", 0), event("deferred", 1_000, 31_000)];
  expect(stretches(waiting, false, BEGAN + 2_000).at(-1)).toMatchObject({ toMs: BEGAN + 31_000, open: true });
  expect(stretches(waiting, false, BEGAN + 40_000).at(-1)).toMatchObject({ toMs: BEGAN + 40_000, open: true });
});

test("many states are all seen, none is below zero", () => {
  const many = Array.from({ length: 30 }, (_, index) => event("deferred", index * 1_000));
  expect(stretches(many, true, BEGAN).every(({ share }) => share > 0)).toBe(true);
  expect(stretches([], true, BEGAN)).toEqual([]);
});

test("a conversation that ended at RCPT TO: what went before passed, what comes after was not reached", () => {
  const steps = conversation(attempt("rcpt", null));
  expect(Object.fromEntries(steps.map(({ phase, state }) => [phase, state]))).toEqual({
    connect: "passed",
    greeting: "passed",
    ehlo: "passed",
    mail: "passed",
    rcpt: "ended",
    data: "not reached",
    body: "not reached",
    reply: "not reached",
  });
});

test("STARTTLS is shown where it was spoken, or where it failed", () => {
  expect(conversation(attempt("reply", "TLSv1.3")).map(({ phase }) => phase)).toContain("starttls");
  expect(conversation(attempt("starttls", null)).find(({ phase }) => phase === "starttls")?.state).toBe("ended");
});

test("only what can still be stopped is offered to be cancelled, only what failed for good to be sent again", () => {
  expect(actionsOf("scheduled")).toEqual({ cancel: true, release: false, redrive: false });
  expect(actionsOf("held")).toEqual({ cancel: true, release: true, redrive: false });
  expect(actionsOf("bounced")).toEqual({ cancel: false, release: false, redrive: true });
  expect(actionsOf("delivered")).toEqual({ cancel: false, release: false, redrive: false });
});
