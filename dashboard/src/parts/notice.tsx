// What stands where there is nothing to show: a first command to try, or what went wrong and what to do about it.

import type { ReactNode } from "react";
import type { Failure } from "../api";
import { Copy } from "./copy";

export function Empty({ title, children, command }: { title: string; children?: ReactNode; command?: string }) {
  return (
    <div className="notice">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {command && <Command text={command} />}
    </div>
  );
}

export function Command({ text }: { text: string }) {
  return (
    <div className="command">
      <pre>
        <code>{text}</code>
      </pre>
      <Copy text={text} label="Copy the command" />
    </div>
  );
}

/** A command against this very server; the key comes from the shell, never from this page. */
export function curl(path: string, method = "GET", body?: unknown): string {
  const lines = [`curl -s ${method === "GET" || body !== undefined ? "" : `-X ${method} `}${location.origin}${path}`];
  lines.push(`  -H "Authorization: Bearer $SENDARIX_API_KEY"`);
  if (body !== undefined) lines.push('  -H "Content-Type: application/json"', `  -d '${JSON.stringify(body)}'`);
  return lines.join(" \\\n");
}

export function FailureNotice({ failure, what }: { failure: Failure; what: string }) {
  if (failure.absent) {
    return (
      <div className="notice" role="status">
        <h2>This server has no {what} yet</h2>
        <p>
          The endpoint does not exist here. The dashboard is newer than the services: bring them to the same version.
        </p>
      </div>
    );
  }
  return (
    <div className="notice notice-bad" role="alert">
      <h2>{failure.message}</h2>
      <p>{failure.hint}</p>
      {failure.faults.length > 0 && (
        <ul>
          {failure.faults.map((fault) => (
            <li key={`${fault.field} ${fault.code}`}>
              <code>{fault.field}</code> {fault.message}
            </li>
          ))}
        </ul>
      )}
      {failure.requestId && (
        <p className="quiet">
          <code>{failure.code}</code> · <code>{failure.requestId}</code>
        </p>
      )}
    </div>
  );
}

export function Loading() {
  return (
    <div className="notice" role="status">
      <p className="quiet">Loading …</p>
    </div>
  );
}
