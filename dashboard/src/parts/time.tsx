// A moment: how long ago, and exactly when.

import { useSyncExternalStore } from "react";
import { absolute, relative } from "../format";

const TICK_MS = 1_000;
let now = Date.now();

function subscribe(changed: () => void): () => void {
  now = Date.now(); // nobody has looked for a while
  const timer = setInterval(() => {
    now = Date.now();
    changed();
  }, TICK_MS);
  return () => clearInterval(timer);
}

/** The time by this machine's clock, a second old at most. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

interface Props {
  at: string | null | undefined;
  /** Exact beside relative, for where one moment is looked at. */
  full?: boolean;
}

export function Time({ at, full = false }: Props) {
  const nowMs = useNow();
  if (!at) return <span className="quiet">–</span>;
  const exact = absolute(at);
  return (
    <time dateTime={at} title={exact}>
      {relative(at, nowMs)}
      {full && <span className="quiet"> · {exact}</span>}
    </time>
  );
}
