// The event feed: the server says that something happened, and what is on the screen is asked for anew.

import { EventSourceParserStream } from "eventsource-parser/stream";
import { useEffect, useState } from "react";
import { queries } from "./queries";
import { useSession } from "./session";

/** `live`: events arrive by themselves; `polling`: the server has no stream, so it is asked every few seconds. */
export type FeedState = "connecting" | "live" | "polling";

const RECONNECT_MS = 2_000;
const POLL_MS = 5_000;
const AT_MOST_EVERY_MS = 1_500; // a busy project must not spend its rate limit on looking

export function useFeed(): FeedState {
  const { key } = useSession();
  const [state, setState] = useState<FeedState>("connecting");
  useEffect(() => {
    const ending = new AbortController();
    follow(key, ending.signal, setState);
    return () => ending.abort();
  }, [key]);
  return state;
}

async function follow(key: string, signal: AbortSignal, tell: (state: FeedState) => void): Promise<void> {
  const refresh = atMostEvery(AT_MOST_EVERY_MS, () =>
    queries.invalidateQueries({ predicate: (query) => query.meta?.["live"] === true }),
  );
  let last = "";
  while (!signal.aborted) {
    try {
      const stream = await open(key, last, signal);
      tell(stream ? "live" : "polling");
      if (stream) {
        for await (const event of stream) {
          last = event.id ?? last;
          refresh();
        }
      }
    } catch {
      tell("polling"); // the network, or the end of this page: the loop knows which
    }
    refresh();
    await pause(last ? RECONNECT_MS : POLL_MS, signal);
  }
}

/** The stream, or null where this server has none. */
async function open(key: string, last: string, signal: AbortSignal) {
  const headers: Record<string, string> = { Accept: "text/event-stream", Authorization: `Bearer ${key}` };
  if (last) headers["Last-Event-ID"] = last;
  const response = await fetch(last ? "/v1/events" : "/v1/events?after=now", { headers, signal });
  if (!response.ok || !response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    return null;
  }
  return response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
}

/** Runs `action` soon, and never more often than this, whatever is asked. */
export function atMostEvery(ms: number, action: () => void): () => void {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      action();
    }, ms);
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
