// What has been asked, and how it is kept fresh.

import { QueryClient, useMutation, useQuery } from "@tanstack/react-query";
import { ask, Failure, type Parameters, withParameters } from "./api";
import { useSession } from "./session";

/** Tries again only what a second try may mend. */
function again(failures: number, error: Error): boolean {
  return failures < 2 && error instanceof Failure && (error.status === 0 || error.status === 503);
}

export const queries = new QueryClient({
  defaultOptions: { queries: { retry: again, staleTime: 2_000, placeholderData: (before: unknown) => before } },
});

interface Watch {
  /** Asked again whenever the feed says that something happened. */
  live?: boolean;
  /** Milliseconds; for what no event tells. */
  every?: number;
  enabled?: boolean;
}

export function useAnswer<T>(path: string, parameters: Parameters = {}, watch: Watch = {}) {
  const { key } = useSession();
  const address = withParameters(path, parameters);
  return useQuery<T, Failure>({
    queryKey: [key, address],
    queryFn: ({ signal }) => ask<T>(key, address, { signal }),
    refetchInterval: watch.every ?? false,
    enabled: watch.enabled ?? true,
    meta: { live: watch.live ?? false },
  });
}

export interface Change {
  method: "POST" | "PATCH" | "DELETE";
  path: string;
  body?: unknown;
  idempotencyKey?: string;
}

/** Changes something, then asks anew for everything that is on the screen. */
export function useChange<T = unknown>() {
  const { key } = useSession();
  return useMutation<T, Failure, Change>({
    mutationFn: ({ path, ...asked }) => ask<T>(key, path, asked),
    onSettled: () => {
      queries.invalidateQueries(); // not waited for: what the page does next may be to leave
    },
  });
}
