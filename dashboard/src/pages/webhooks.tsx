import { useState } from "react";
import { Link } from "wouter";
import { Dialog, SecretDialog } from "../parts/dialog";
import { List } from "../parts/list";
import { Command, curl, Empty } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time } from "../parts/time";
import { useChange } from "../queries";
import type { Webhook } from "../shapes";

export function Webhooks() {
  const [adding, setAdding] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const create = useChange<Webhook>();
  const add = (form: FormData) => {
    const body = {
      url: String(form.get("url")),
      events: String(form.get("events"))
        .split(/[\s,]+/)
        .filter(Boolean),
      description: String(form.get("description")) || null,
    };
    create.mutate(
      { method: "POST", path: "/v1/webhooks", body },
      {
        onSuccess: (made) => {
          setAdding(false);
          setSecret(made.secret ?? null);
        },
      },
    );
  };
  return (
    <>
      <header className="page">
        <h1>Webhooks</h1>
        <button type="button" className="primary" onClick={() => setAdding(true)}>
          Add endpoint
        </button>
      </header>
      <List<Webhook>
        path="/v1/webhooks"
        what="list of webhooks"
        head={["Endpoint", "Events", "State", "Since"]}
        row={(webhook) => <Row key={webhook.id} webhook={webhook} />}
        empty={
          <Empty
            title="No endpoint yet"
            command={curl("/v1/webhooks", "POST", {
              url: "https://shop.example.com/hooks/mail",
              events: ["message.*"],
            })}
          >
            An endpoint is a URL of yours that is called, signed, for each event it asks for.
          </Empty>
        }
      />
      {adding && (
        <Dialog
          title="Add an endpoint"
          action="Add endpoint"
          busy={create.isPending}
          failure={create.error}
          onDone={add}
          onClose={() => {
            setAdding(false);
            create.reset();
          }}
        >
          <label>
            <span>URL</span>
            <input name="url" type="url" required placeholder="https://shop.example.com/hooks/mail" />
          </label>
          <label>
            <span>Events</span>
            <input name="events" required defaultValue="message.*" />
            <small className="quiet">Types, families such as message.*, or * for all; spaces between them.</small>
          </label>
          <label>
            <span>Description</span>
            <input name="description" placeholder="Orders team" />
          </label>
        </Dialog>
      )}
      {secret && <NewSecret secret={secret} onClose={() => setSecret(null)} />}
    </>
  );
}

export function NewSecret({ secret, onClose }: { secret: string; onClose: () => void }) {
  return (
    <SecretDialog title="The signing secret" onClose={onClose}>
      <p>It is shown this once. Your endpoint verifies each call with it (Standard Webhooks).</p>
      <Command text={secret} />
    </SecretDialog>
  );
}

function Row({ webhook }: { webhook: Webhook }) {
  return (
    <tr>
      <td className="long">
        <Link href={`/webhooks/${webhook.id}`}>{webhook.url}</Link>
        {webhook.description && <small className="quiet">{webhook.description}</small>}
      </td>
      <td>
        {webhook.events.map((name) => (
          <span key={name} className="tag">
            {name}
          </span>
        ))}
      </td>
      <td>
        <StatusMark status={webhook.disabled ? "disabled" : "enabled"} />
      </td>
      <td className="when">
        <Time at={webhook.created_at} />
      </td>
    </tr>
  );
}
