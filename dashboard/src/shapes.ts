// The API's answers, as far as the dashboard shows them. A server may add fields at any time; what may be absent is optional.

export interface Page<T> {
  object: "list";
  data: T[];
  has_more: boolean;
  next_cursor: string | null;
}

export const STATUSES = [
  "queued",
  "scheduled",
  "accepted",
  "deferred",
  "unknown",
  "held",
  "delivered",
  "bounced",
  "suppressed",
  "cancelled",
  "expired",
] as const;
export type Status = (typeof STATUSES)[number];

export const CATEGORIES = [
  "invalid_recipient",
  "mailbox_disabled",
  "domain_not_found",
  "mailbox_full",
  "message_too_large",
  "content_rejected",
  "spam_blocked",
  "ip_blocked",
  "auth_failed",
  "relay_denied",
  "throttled",
  "greylisted",
  "rejected",
  "transient",
  "no_answer",
  "protocol_error",
  "unknown",
] as const;

export interface Attempt {
  number: number;
  started_at: string;
  finished_at: string;
  path: string;
  source_address: string | null;
  mx_host: string | null;
  mx_address: string | null;
  tls: string | null;
  phase: string;
  reply: string | null;
  code: number | null;
  enhanced_code: string | null;
}

export interface EventData {
  status?: Status;
  environment?: string;
  attempt?: Attempt | null;
  category?: string | null;
  rule_id?: string | null;
  reason?: string | null;
  next_attempt_at?: string | null;
  scheduled_time?: string | null;
  path?: string | null;
  by?: string | null;
  template?: string | null;
  template_version?: number | null;
  priority?: string;
  channel?: string;
  size?: number;
  feedback?: { kind: string; received_at: string; provider?: string | null } | null;
  [more: string]: unknown;
}

export interface MailEvent {
  id: string;
  type: string;
  subject: string;
  time: string;
  sequence: number;
  data: EventData;
}

export interface Message {
  message_id: string;
  status: Status;
  created_at: string;
  recipient?: string;
  from?: string | null;
  subject?: string | null;
  tags?: string[];
  metadata?: Record<string, string>;
  template?: string | null;
  channel?: string | null;
  path?: string | null;
  environment?: string | null;
  updated_at?: string;
  scheduled_time?: string | null;
  attempts?: number;
  next_attempt_at?: string | null;
  reason?: string | null;
  outcome?: { code: number | null; enhanced_code: string | null; category: string; reply: string | null } | null;
  timeline?: MailEvent[];
  pending?: boolean;
}

export interface Decision {
  at: string;
  kind: string;
  event_id: string | null;
  rule: string | null;
  version: number | string | null;
  text: string;
  details?: Record<string, unknown>;
}

export interface Explanation {
  message_id: string;
  status: Status;
  waiting: { reason: string; next_attempt_at: string | null; text: string } | null;
  decisions: Decision[];
}

export interface Percentiles {
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export const COUNTS = [
  "queued",
  "accepted",
  "delivered",
  "deferred",
  "bounced",
  "suppressed",
  "cancelled",
  "expired",
  "unknown",
  "complained",
  "unsubscribed",
] as const;
export const RATES = ["delivery_rate", "bounce_rate", "complaint_rate", "deferral_rate"] as const;

export type MetricsRow = { time: string; group: Record<string, string> } & Record<(typeof COUNTS)[number], number> &
  Record<(typeof RATES)[number], number | null> & {
    first_attempt_ms: Percentiles | null;
    delivered_ms: Percentiles | null;
  };

export interface Metrics {
  since: string;
  until: string;
  behind_ms: number | null;
  data: MetricsRow[];
}

export interface Webhook {
  id: string;
  url: string;
  events: string[];
  tags: string[];
  description: string | null;
  disabled?: boolean;
  disabled_at?: string | null;
  disabled_reason?: string | null;
  rate_per_second?: number | null;
  old_secrets_until?: string[];
  created_at: string;
  secret?: string;
}

export interface WebhookAttempt {
  id: string;
  event_id: string;
  event_type: string;
  attempt: number;
  at: string;
  duration_ms: number;
  outcome: string;
  status_code: number | null;
  error: string | null;
  response: string | null;
  next_attempt_at: string | null;
  cause: string;
}

export interface Replay {
  id: string;
  status: "queued" | "running" | "done" | "failed";
  reason: string | null;
  event_id: string | null;
  since: string | null;
  until: string | null;
  only_failed: boolean;
  /** Events found that were asked for, and how many of them are called once more. */
  matched: number;
  queued: number;
  created_at: string;
}

export type QueueKind = "destination" | "provider_group" | "path";

export interface Queue {
  kind: QueueKind;
  name: string;
  provider_group: string | null;
  waiting: number | null;
  in_flight: number | null;
  oldest_at: string | null;
  next_attempt_at: string | null;
  reason: string | null;
  paused: boolean;
  pauses: { project_id: string | null; reason: string | null; by: string; paused_at: string }[];
}

export interface SandboxMail {
  message_id: string;
  recipient: string;
  from: string;
  subject: string | null;
  outcome: string;
  attempt: number;
  size: number;
  truncated: boolean;
  received_at: string;
  headers?: { name: string; value: string }[];
  text?: string | null;
  html?: string | null;
  attachments?: { filename: string | null; content_type: string; content_id: string | null; size: number }[];
  raw?: string | null;
}

export interface DeadLetter {
  message_id: string;
  recipient: string;
  category: string;
  code: number | null;
  enhanced_code: string | null;
  reply: string | null;
  path: string | null;
  attempts: number;
  created_at: string;
  failed_at: string;
  redriven_as: string[];
}

export interface DeadLetterGroup {
  cause: { category: string; enhanced_code: string | null; provider_group?: string; recipient_domain?: string };
  messages: number;
  first_at: string;
  last_at: string;
  sample: { message_id: string; reply: string | null };
}

export interface Alert {
  id: string;
  name: string;
  measure: string;
  filters: Record<string, string>;
  window_seconds: number;
  condition: { above?: number; below?: number; times?: number; baseline_seconds?: number };
  minimum: number;
  enabled: boolean;
  state: "ok" | "raised" | "unknown";
  since: string | null;
  value: number | null;
}
