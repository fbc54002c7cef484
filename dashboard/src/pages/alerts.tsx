import { useState } from "react";
import { duration, percent, words } from "../format";
import { Dialog } from "../parts/dialog";
import { List } from "../parts/list";
import { curl, Empty } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time } from "../parts/time";
import { useChange } from "../queries";
import type { Alert } from "../shapes";

const EXAMPLE = {
  name: "Security mail",
  measure: "queued",
  filters: { tag: "security-alert" },
  window_seconds: 300,
  condition: { times: 5, baseline_seconds: 3600 },
  minimum: 20,
};
const MEASURES = [
  "bounce_rate",
  "complaint_rate",
  "deferral_rate",
  "delivery_rate",
  "queued",
  "delivered",
  "deferred",
  "bounced",
  "complained",
  "unknown",
  "expired",
  "suppressed",
];

export function Alerts() {
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Alert | null>(null);
  const change = useChange<Alert>();
  const close = () => {
    setAdding(false);
    setRemoving(null);
    change.reset();
  };
  return (
    <>
      <header className="page">
        <h1>Alerts</h1>
        <button type="button" className="primary" onClick={() => setAdding(true)}>
          Add rule
        </button>
      </header>
      <p className="quiet">
        A rule raises <code>alert.raised</code> once and <code>alert.resolved</code> once, as events and by webhook.
      </p>
      <List<Alert>
        path="/v1/alerts"
        what="alerts"
        every={5_000}
        head={["Rule", "State", "Raised when", "Now", "Since", "(Actions)"]}
        row={(rule) => (
          <Row
            key={rule.id}
            rule={rule}
            toggle={() =>
              change.mutate({ method: "PATCH", path: `/v1/alerts/${rule.id}`, body: { enabled: !rule.enabled } })
            }
            remove={() => setRemoving(rule)}
          />
        )}
        empty={
          <Empty title="No rule yet" command={curl("/v1/alerts", "POST", EXAMPLE)}>
            This one is raised when five times more security mail is queued than in the hour before.
          </Empty>
        }
      />
      {adding && (
        <Dialog
          title="Add a rule"
          action="Add rule"
          busy={change.isPending}
          failure={change.error}
          onDone={(form) =>
            change.mutate({ method: "POST", path: "/v1/alerts", body: ruleOf(form) }, { onSuccess: close })
          }
          onClose={close}
        >
          <RuleFields />
        </Dialog>
      )}
      {removing && (
        <Dialog
          title={`Delete ${removing.name}?`}
          action="Delete rule"
          dangerous
          busy={change.isPending}
          failure={change.error}
          onDone={() => change.mutate({ method: "DELETE", path: `/v1/alerts/${removing.id}` }, { onSuccess: close })}
          onClose={close}
        >
          <p>Nothing is raised by it any more.</p>
        </Dialog>
      )}
    </>
  );
}

function RuleFields() {
  return (
    <>
      <label>
        <span>Name</span>
        <input name="name" required placeholder="Bounces of receipts" />
      </label>
      <div className="pair">
        <label>
          <span>Measure</span>
          <select name="measure">
            {MEASURES.map((measure) => (
              <option key={measure} value={measure}>
                {words(measure)}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>Only with the tag</span>
          <input name="tag" placeholder="any" />
        </label>
      </div>
      <div className="pair">
        <label>
          <span>Is</span>
          <select name="comparison">
            <option value="above">above</option>
            <option value="below">below</option>
            <option value="times">times the hour before</option>
          </select>
        </label>
        <label>
          <span>Value</span>
          <input name="value" type="number" step="any" min="0" required defaultValue="0.05" />
        </label>
      </div>
      <div className="pair">
        <label>
          <span>Within</span>
          <select name="window" defaultValue="300">
            <option value="60">a minute</option>
            <option value="300">5 minutes</option>
            <option value="3600">an hour</option>
          </select>
        </label>
        <label>
          <span>From so many messages</span>
          <input name="minimum" type="number" min="1" defaultValue="20" />
        </label>
      </div>
      <small className="quiet">Rates are parts of one: 0.05 is 5 %.</small>
    </>
  );
}

function ruleOf(form: FormData) {
  const value = Number(form.get("value"));
  const comparison = String(form.get("comparison"));
  const tag = String(form.get("tag")).trim();
  return {
    name: String(form.get("name")),
    measure: String(form.get("measure")),
    filters: tag ? { tag } : {},
    window_seconds: Number(form.get("window")),
    condition: comparison === "times" ? { times: value, baseline_seconds: 3_600 } : { [comparison]: value },
    minimum: Number(form.get("minimum")),
  };
}

function Row({ rule, toggle, remove }: { rule: Alert; toggle: () => void; remove: () => void }) {
  const filters = Object.entries(rule.filters ?? {}).filter(([, value]) => value);
  return (
    <tr>
      <td>
        <b>{rule.name}</b>
        {filters.map(([name, value]) => (
          <small key={name} className="quiet">
            {words(name)} {value}
          </small>
        ))}
      </td>
      <td>
        <StatusMark status={rule.enabled ? rule.state : "disabled"} />
      </td>
      <td>
        {words(rule.measure)} {conditionOf(rule)} within {duration(rule.window_seconds * 1_000)}
        <small className="quiet">from {rule.minimum} messages on</small>
      </td>
      <td className="number">{shownValue(rule, rule.value)}</td>
      <td className="when">
        <Time at={rule.since} />
      </td>
      <td className="actions">
        <button type="button" onClick={toggle} aria-label={`${rule.enabled ? "Disable" : "Enable"} ${rule.name}`}>
          {rule.enabled ? "Disable" : "Enable"}
        </button>
        <button type="button" onClick={remove} aria-label={`Delete ${rule.name}`}>
          Delete
        </button>
      </td>
    </tr>
  );
}

function conditionOf(rule: Alert): string {
  const { above, below, times, baseline_seconds } = rule.condition;
  if (typeof above === "number") return `above ${shownValue(rule, above)}`;
  if (typeof below === "number") return `below ${shownValue(rule, below)}`;
  return `${times} × that of the ${duration((baseline_seconds ?? 3_600) * 1_000)} before`;
}

function shownValue(rule: Alert, value: number | null): string {
  if (value === null) return "–";
  return rule.measure.endsWith("_rate") ? percent(value) : String(value);
}
