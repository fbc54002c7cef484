// A message's timeline as a picture: which state it was in, how long, and when it was tried. Pure.

import type { Attempt, MailEvent, Status } from "./shapes";

/** What nothing follows by itself; late feedback may still come. */
export const ENDED: ReadonlySet<string> = new Set(["delivered", "bounced", "suppressed", "cancelled", "expired"]);

export interface Stretch {
  /** The state, or `waiting` where it waits for something else without another state. */
  status: Status | "waiting";
  fromMs: number;
  toMs: number;
  /** Of the picture's width, 0 to 1. */
  share: number;
  /** Not over yet: it goes on until the next attempt, or nobody knows. */
  open: boolean;
}

const SMALLEST = 0.06; // of the width: a state of a millisecond is still to be seen

/** The states one after the other. Milliseconds and hours must both be seen, so widths grow with the logarithm. */
export function stretches(timeline: readonly MailEvent[], ended: boolean, nowMs: number): Stretch[] {
  const marks = timeline
    .map((event) => ({ status: stateAfter(event), ms: Date.parse(event.time), next: event.data.next_attempt_at }))
    .filter((mark): mark is typeof mark & { status: Stretch["status"] } => mark.status !== undefined);
  const found = marks.map((mark, index) => {
    const following = marks[index + 1];
    const open = following === undefined && !ended;
    const until = open ? Math.max(nowMs, mark.next ? Date.parse(mark.next) : nowMs) : mark.ms;
    return { status: mark.status, fromMs: mark.ms, toMs: following?.ms ?? until, open };
  });
  const weights = found.map(({ fromMs, toMs }) => Math.log10(1 + Math.max(0, toMs - fromMs)) + 0.3);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const left = 1 - SMALLEST * found.length;
  return found.map((stretch, index) => ({
    ...stretch,
    share: left > 0 ? SMALLEST + (left * (weights[index] ?? 0)) / sum : 1 / found.length,
  }));
}

function stateAfter(event: MailEvent): Stretch["status"] | undefined {
  return event.type === "message.waiting" ? "waiting" : event.data.status;
}

export interface Tried {
  event: MailEvent;
  attempt: Attempt;
}

export function attemptsOf(timeline: readonly MailEvent[]): Tried[] {
  return timeline.flatMap((event) => (event.data.attempt ? [{ event, attempt: event.data.attempt }] : []));
}

export interface Step {
  phase: string;
  says: string;
  state: "passed" | "ended" | "not reached";
}

const CONVERSATION: [string, string][] = [
  ["connect", "Connection"],
  ["greeting", "Greeting"],
  ["ehlo", "EHLO"],
  ["starttls", "STARTTLS"],
  ["auth", "AUTH"],
  ["mail", "MAIL FROM"],
  ["rcpt", "RCPT TO"],
  ["data", "DATA"],
  ["body", "Content"],
  ["reply", "Answer to the final dot"],
];

/** What was said between us and the mail server, as far as it came. STARTTLS and AUTH are not part of each conversation. */
export function conversation(attempt: Attempt): Step[] {
  const at = CONVERSATION.findIndex(([phase]) => phase === attempt.phase);
  return CONVERSATION.map(([phase, says], index): Step => {
    if (index === at) return { phase, says, state: "ended" };
    return { phase, says, state: index < at ? "passed" : "not reached" };
  }).filter(({ phase, state }) => state === "ended" || !((phase === "starttls" && !attempt.tls) || phase === "auth"));
}

/** What may be done with a message in this state. */
export function actionsOf(status: Status): { cancel: boolean; release: boolean; redrive: boolean } {
  return {
    cancel: ["queued", "scheduled", "accepted", "deferred", "unknown", "held"].includes(status),
    release: status === "held",
    redrive: ["bounced", "expired"].includes(status),
  };
}
