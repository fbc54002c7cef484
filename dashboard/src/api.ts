// How the dashboard asks the API: one function, one kind of failure. It must never keep the key anywhere itself.

export interface Fault {
  field: string;
  code: string;
  message: string;
}

/** An answer that is none: what the API says is wrong, and what to do about it. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly faults: Fault[] = [],
    readonly requestId: string | null = null,
  ) {
    super(message);
  }

  /** This server does not have the endpoint at all: it is older than the dashboard. */
  get absent(): boolean {
    return this.status === 405 || (this.status === 404 && this.hint.startsWith("Check the method and the path"));
  }
}

export type Parameters = Record<string, string | number | null | undefined>;

export function withParameters(path: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

interface Asked {
  method?: "GET" | "POST" | "PATCH" | "DELETE";
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** Raises Failure. */
export async function ask<T>(key: string, path: string, asked: Asked = {}): Promise<T> {
  const headers: Record<string, string> = { Authorization: `Bearer ${key}` };
  if (asked.body !== undefined) headers["Content-Type"] = "application/json";
  if (asked.idempotencyKey) headers["Idempotency-Key"] = asked.idempotencyKey;
  let response: Response;
  try {
    response = await fetch(path, {
      method: asked.method ?? "GET",
      headers,
      body: asked.body === undefined ? null : JSON.stringify(asked.body),
      signal: asked.signal ?? null,
    });
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new Failure(
      0,
      "unreachable",
      "The API can not be reached.",
      "Check the connection; `make status` shows what runs.",
    );
  }
  const text = await response.text();
  if (!response.ok) throw failureOf(response.status, text);
  return JSON.parse(text || "null") as T;
}

/** What an answer that is no success says; it may come from something before the API that speaks no JSON. */
export function failureOf(status: number, text: string): Failure {
  try {
    const { error, errors, request_id } = JSON.parse(text);
    return new Failure(status, error.code, error.message, error.hint, errors ?? [], request_id ?? null);
  } catch {
    return new Failure(
      status,
      "unexpected",
      `The server answered ${status}, and not as the API does.`,
      "Look at what stands between the dashboard and ingest.",
    );
  }
}
