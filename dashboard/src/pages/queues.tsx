import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { count, words } from "../format";
import { Dialog } from "../parts/dialog";
import { List } from "../parts/list";
import { curl, Empty } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time } from "../parts/time";
import { useChange } from "../queries";
import type { Queue, QueueKind } from "../shapes";

const KINDS: [QueueKind, string][] = [
  ["destination", "By domain"],
  ["provider_group", "By provider"],
  ["path", "By path"],
];

type Verb = "pause" | "resume" | "flush";
const ASKING: Record<Verb, { action: string; text: string }> = {
  pause: { action: "Pause", text: "Mail to it is accepted and waits. Attempts that are under way end as they end." },
  resume: { action: "Resume", text: "What waits goes on, at the pace that the destination takes." },
  flush: { action: "Flush", text: "What waits for its next attempt is due at once. Paused queues stay paused." },
};

export function Queues() {
  const [address] = useSearchParams();
  const kind = KINDS.find(([name]) => name === address.get("kind"))?.[0] ?? "destination";
  const [asked, setAsked] = useState<{ queue: Queue; verb: Verb } | null>(null);
  return (
    <>
      <header className="page">
        <h1>Queues</h1>
        <nav className="tabs" aria-label="Kind of queue">
          {KINDS.map(([name, label]) => (
            <Link key={name} href={`/queues?kind=${name}`} aria-current={name === kind ? "true" : undefined}>
              {label}
            </Link>
          ))}
        </nav>
      </header>
      <p className="quiet">What waits, of everybody's mail. A pause holds back the mail of your project.</p>
      <List<Queue>
        path="/v1/queues"
        parameters={{ kind }}
        what="list of queues"
        every={3_000}
        head={["Queue", "State", "Waiting", "In flight", "Oldest", "Waits for", "Next attempt", "(Actions)"]}
        row={(queue) => <Row key={queue.name} queue={queue} ask={(verb) => setAsked({ queue, verb })} />}
        empty={
          <Empty
            title="Nothing waits"
            command={curl("/v1/queues/example.org/pause", "POST", { reason: "maintenance there" })}
          >
            Mail goes out as it comes in. A queue that is paused is shown here even when it is empty.
          </Empty>
        }
      />
      {asked && <QueueDialog {...asked} onClose={() => setAsked(null)} />}
    </>
  );
}

function Row({ queue, ask }: { queue: Queue; ask: (verb: Verb) => void }) {
  const verbs: Verb[] = [queue.paused ? "resume" : "pause", "flush"];
  return (
    <tr>
      <td>
        <b>{queue.name}</b>
        {queue.provider_group && queue.provider_group !== queue.name && (
          <small className="quiet">{queue.provider_group}</small>
        )}
      </td>
      <td>
        <StatusMark status={queue.paused ? "paused" : "flowing"} />
        {queue.pauses.map((pause) => (
          <small key={pause.paused_at} className="quiet">
            {pause.reason ?? "no reason given"}
          </small>
        ))}
      </td>
      <td className="number">{count(queue.waiting)}</td>
      <td className="number">{count(queue.in_flight)}</td>
      <td className="when">
        <Time at={queue.oldest_at} />
      </td>
      <td>{queue.reason ? words(queue.reason) : <span className="quiet">–</span>}</td>
      <td className="when">
        <Time at={queue.next_attempt_at} />
      </td>
      <td className="actions">
        {verbs.map((verb) => (
          <button
            key={verb}
            type="button"
            onClick={() => ask(verb)}
            aria-label={`${ASKING[verb].action} ${queue.name}`}
          >
            {ASKING[verb].action}
          </button>
        ))}
      </td>
    </tr>
  );
}

function QueueDialog({ queue, verb, onClose }: { queue: Queue; verb: Verb; onClose: () => void }) {
  const change = useChange<Queue>();
  const { action, text } = ASKING[verb];
  const carryOut = (form: FormData) => {
    const reason = verb === "pause" ? { reason: String(form.get("reason")) || null } : {};
    const path = `/v1/queues/${encodeURIComponent(queue.name)}/${verb}`;
    change.mutate({ method: "POST", path, body: { kind: queue.kind, ...reason } }, { onSuccess: onClose });
  };
  return (
    <Dialog
      title={`${action} ${queue.name}?`}
      action={action}
      dangerous={verb === "pause"}
      busy={change.isPending}
      failure={change.error}
      onDone={carryOut}
      onClose={onClose}
    >
      <p>{text}</p>
      {verb === "pause" && (
        <label>
          <span>Reason, for whoever looks next</span>
          <input name="reason" maxLength={500} placeholder="their mail server is down" />
        </label>
      )}
    </Dialog>
  );
}
