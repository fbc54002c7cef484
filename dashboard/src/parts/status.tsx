// A state in words, with a mark whose form says the same to those who do not see its colour.

import { words } from "../format";

type Tone = "good" | "busy" | "warn" | "bad" | "quiet";

const TONES: Record<string, Tone> = {
  queued: "busy",
  scheduled: "busy",
  accepted: "busy",
  waiting: "warn",
  deferred: "warn",
  unknown: "warn",
  held: "warn",
  delivered: "good",
  bounced: "bad",
  complained: "bad",
  expired: "bad",
  suppressed: "quiet",
  cancelled: "quiet",
  succeeded: "good",
  running: "busy",
  done: "good",
  failed: "bad",
  ended: "bad",
  ok: "good",
  raised: "bad",
  paused: "warn",
  flowing: "good",
  enabled: "good",
  disabled: "quiet",
};

const MARKS: Record<Tone, string> = {
  good: "M2 6.5 5 9.5 10 3",
  busy: "M2.5 6h7M6.5 3l3 3-3 3",
  warn: "M6 2v5M6 9.2v.6",
  bad: "M3 3l6 6M9 3 3 9",
  quiet: "M2.5 6h7",
};

export function StatusMark({ status }: { status: string }) {
  const tone = TONES[status] ?? "quiet";
  return (
    <span className={`status status-${tone}`} data-status={status}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        <path d={MARKS[tone]} />
      </svg>
      {words(status)}
    </span>
  );
}

export function toneOf(status: string): Tone {
  return TONES[status] ?? "quiet";
}
