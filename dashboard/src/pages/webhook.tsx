import { useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { type FilterField, filtersOf } from "../filters";
import { duration, shortType, words } from "../format";
import { Copy } from "../parts/copy";
import { Dialog } from "../parts/dialog";
import { Filters } from "../parts/filters";
import { List } from "../parts/list";
import { Empty, FailureNotice, Loading } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time, useNow } from "../parts/time";
import { useAnswer, useChange } from "../queries";
import type { Webhook, WebhookAttempt } from "../shapes";
import { ReplayDialog, Replays } from "./webhook/replay";
import { NewSecret } from "./webhooks";

const FIELDS: FilterField[] = [
  { name: "status", label: "Outcome", options: ["succeeded", "failed"] },
  { name: "event_id", label: "Event", placeholder: "evt_…" },
];

type Asking = "rotate" | "replay" | "delete" | "disable";

export function WebhookPage({ id }: { id: string }) {
  const path = `/v1/webhooks/${id}`;
  const { data: webhook, error } = useAnswer<Webhook>(path);
  const [address] = useSearchParams();
  if (error) return <FailureNotice failure={error} what="webhook" />;
  if (!webhook) return <Loading />;
  return (
    <>
      <header className="page">
        <div>
          <p className="crumb">
            <Link href="/webhooks">Webhooks</Link>
          </p>
          <h1 className="address">{webhook.url}</h1>
          <p>
            <StatusMark status={webhook.disabled ? "disabled" : "enabled"} /> {webhook.description}
          </p>
          <p className="id">
            <code>{id}</code> <Copy text={id} label="Copy the endpoint's id" />
          </p>
        </div>
        <Actions webhook={webhook} />
      </header>
      <p>
        Asks for {webhook.events.join(", ")}
        {webhook.tags.length > 0 && `, with a tag of ${webhook.tags.join(", ")}`}
        {webhook.rate_per_second && `, at most ${webhook.rate_per_second} calls a second`}.
        {webhook.disabled_reason && ` Disabled: ${words(webhook.disabled_reason)}.`}
      </p>
      {(webhook.old_secrets_until ?? []).map((until) => (
        <p key={until}>
          An older secret signs, too, until <Time at={until} full />.
        </p>
      ))}
      <Replays path={path} />
      <h2>Attempts</h2>
      <Filters fields={FIELDS} first={2} />
      <List<WebhookAttempt>
        path={`${path}/attempts`}
        parameters={filtersOf(address, FIELDS)}
        what="log of attempts"
        every={3_000}
        head={["Outcome", "Event", "Attempt", "Answer", "Took", "At"]}
        row={(attempt) => <AttemptRow key={attempt.id} attempt={attempt} />}
        empty={
          <Empty title="No attempt">
            Nothing was sent to it, or nothing that fits the filters. “Send test event” calls it at once.
          </Empty>
        }
      />
    </>
  );
}

function AttemptRow({ attempt }: { attempt: WebhookAttempt }) {
  const nowMs = useNow();
  return (
    <tr>
      <td>
        <StatusMark status={attempt.outcome} />
      </td>
      <td>
        {shortType(attempt.event_type)}
        <small className="quiet">
          <code>{attempt.event_id}</code>
        </small>
      </td>
      <td className="number">
        {attempt.attempt}
        {attempt.cause !== "event" && <small className="quiet">{attempt.cause}</small>}
      </td>
      <td className="long">
        {attempt.status_code ?? attempt.error}
        {attempt.response && <small className="quiet">{attempt.response}</small>}
        {attempt.next_attempt_at && Date.parse(attempt.next_attempt_at) > nowMs && (
          <small className="quiet">
            next try <Time at={attempt.next_attempt_at} />
          </small>
        )}
      </td>
      <td className="number">{duration(attempt.duration_ms)}</td>
      <td className="when">
        <Time at={attempt.at} />
      </td>
    </tr>
  );
}

function Actions({ webhook }: { webhook: Webhook }) {
  const path = `/v1/webhooks/${webhook.id}`;
  const [asking, setAsking] = useState<Asking | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const [said, setSaid] = useState("");
  const [, go] = useLocation();
  const change = useChange<Webhook & { event_id?: string }>();
  const open = (what: Asking) => {
    change.reset();
    setAsking(what);
  };
  const dialog = { busy: change.isPending, failure: change.error, onClose: () => setAsking(null) };
  const test = () =>
    change.mutate(
      { method: "POST", path: `${path}/test` },
      {
        onSuccess: (answer) => setSaid(`Test event ${answer.event_id} is on its way; its attempt will stand below.`),
        onError: (failure) => setSaid(`${failure.message} ${failure.hint}`),
      },
    );
  const rotate = (form: FormData) =>
    change.mutate(
      { method: "POST", path: `${path}/rotate-secret`, body: { overlap: String(form.get("overlap")) } },
      {
        onSuccess: (answer) => {
          setAsking(null);
          setSecret(answer.secret ?? null);
        },
      },
    );
  const disable = () =>
    change.mutate(
      { method: "PATCH", path, body: { disabled: !webhook.disabled } },
      { onSuccess: () => setAsking(null) },
    );
  const remove = () => change.mutate({ method: "DELETE", path }, { onSuccess: () => go("/webhooks") });
  return (
    <div>
      <div className="buttons">
        <button type="button" onClick={test}>
          Send test event
        </button>
        <button type="button" onClick={() => open("replay")}>
          Replay
        </button>
        <button type="button" onClick={() => open("rotate")}>
          Rotate secret
        </button>
        <button type="button" onClick={() => open("disable")}>
          {webhook.disabled ? "Enable" : "Disable"}
        </button>
        <button type="button" onClick={() => open("delete")}>
          Delete
        </button>
      </div>
      <p role="status" className="quiet">
        {said}
      </p>
      {asking === "rotate" && (
        <Dialog title="Rotate the signing secret?" action="Rotate secret" onDone={rotate} {...dialog}>
          <p>Calls are signed with the new secret at once, and with the old one, too, for as long as you say.</p>
          <label>
            <span>Old secret stays good for</span>
            <select name="overlap" defaultValue="24h">
              <option value="0">not at all</option>
              <option value="1h">an hour</option>
              <option value="24h">a day</option>
              <option value="7d">seven days</option>
            </select>
          </label>
        </Dialog>
      )}
      {asking === "disable" && (
        <Dialog
          title={webhook.disabled ? "Enable this endpoint?" : "Disable this endpoint?"}
          action={webhook.disabled ? "Enable" : "Disable"}
          dangerous={!webhook.disabled}
          onDone={disable}
          {...dialog}
        >
          <p>
            {webhook.disabled
              ? "It is called for events from now on; those of the meantime were not kept for it, but can be replayed."
              : "No more calls. What was still to be sent is dropped, and events meanwhile are not kept for it."}
          </p>
        </Dialog>
      )}
      {asking === "delete" && (
        <Dialog title="Delete this endpoint?" action="Delete endpoint" dangerous onDone={remove} {...dialog}>
          <p>Its secret and its place in every list are gone. This can not be undone.</p>
        </Dialog>
      )}
      {asking === "replay" && <ReplayDialog path={path} said={setSaid} onClose={() => setAsking(null)} />}
      {secret && <NewSecret secret={secret} onClose={() => setSecret(null)} />}
    </div>
  );
}
