import { useState } from "react";
import { Link, useLocation } from "wouter";
import { words } from "../format";
import { Copy } from "../parts/copy";
import { Dialog } from "../parts/dialog";
import { FailureNotice, Loading } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time } from "../parts/time";
import { type Change, useAnswer, useChange } from "../queries";
import type { MailEvent, Message } from "../shapes";
import { actionsOf, attemptsOf } from "../story";
import { Conversation } from "./message/conversation";
import { Explain } from "./message/explain";
import { Picture } from "./message/picture";
import { Timeline } from "./message/timeline";

export function MessagePage({ id }: { id: string }) {
  const { data: message, error } = useAnswer<Message>(`/v1/messages/${id}`, {}, { live: true });
  if (error) return <FailureNotice failure={error} what="message" />;
  if (!message) return <Loading />;
  const timeline = message.timeline ?? [];
  const first = timeline[0]?.data;
  return (
    <>
      <header className="page">
        <div>
          <p className="crumb">
            <Link href="/messages">Messages</Link>
          </p>
          <h1>{message.subject ?? "A message without a subject"}</h1>
          <p>
            <StatusMark status={message.status} /> to <b>{message.recipient ?? "…"}</b>,{" "}
            <Time at={message.created_at} full />
          </p>
          <p className="id">
            <code>{id}</code> <Copy text={id} label="Copy the message's id" />
          </p>
        </div>
        <Actions message={message} />
      </header>
      {message.pending && <p className="quiet">Accepted a moment ago; its first event is on its way.</p>}
      {message.reason && (
        <p className="waiting">
          It waits: <b>{words(message.reason)}</b>
          {message.next_attempt_at && (
            <>
              , next attempt <Time at={message.next_attempt_at} full />
            </>
          )}
        </p>
      )}
      <Picture message={message} />
      <div className="columns">
        <div>
          <Timeline timeline={timeline} />
          <Conversation tried={attemptsOf(timeline)} />
          <Explain id={id} />
        </div>
        <aside>
          <h2>Details</h2>
          <dl>
            <Row name="From" value={message.from} />
            <Row name="Tags" value={message.tags?.join(", ")} />
            <Row name="Template" value={message.template ?? first?.template} />
            <Row name="Priority" value={first?.priority} />
            <Row name="Channel" value={message.channel ?? first?.channel} />
            <Row name="Path" value={message.path ?? pathOf(timeline)} />
            <Row name="Environment" value={message.environment ?? first?.environment} />
            <Row name="Attempts" value={String(message.attempts ?? 0)} />
            {Object.entries(message.metadata ?? {}).map(([name, value]) => (
              <Row key={name} name={`metadata ${name}`} value={value} />
            ))}
          </dl>
        </aside>
      </div>
    </>
  );
}

/** Where it went last, for a server that does not say so of the message itself. */
function pathOf(timeline: MailEvent[]): string | undefined {
  const paths = timeline.flatMap(({ data }) => data.attempt?.path ?? data.path ?? []);
  return paths.at(-1);
}

function Row({ name, value }: { name: string; value: string | null | undefined }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{value || <span className="quiet">–</span>}</dd>
    </>
  );
}

interface Offer {
  title: string;
  text: string;
  action: string;
  dangerous: boolean;
  change: Change;
}

function offersOf(message: Message): Offer[] {
  const { message_id: id, recipient = "", status } = message;
  const may = actionsOf(status);
  const offers: Offer[] = [];
  if (may.cancel) {
    offers.push({
      title: "Cancel this message?",
      text: "No attempt starts after this. A mail that is being handed over right now can not be called back.",
      action: "Cancel message",
      dangerous: true,
      change: { method: "DELETE", path: `/v1/messages/${id}` },
    });
  }
  if (may.release) {
    offers.push({
      title: "Release this message?",
      text: "It goes on with its next attempt. If an earlier attempt did reach the recipient, a second copy may arrive.",
      action: "Release",
      dangerous: false,
      change: { method: "POST", path: `/v1/messages/${id}/release` },
    });
  }
  if (may.redrive) {
    offers.push({
      title: "Send it again?",
      text: `A new message with the same content goes to ${recipient}. This one stays as it is.`,
      action: "Re-drive",
      dangerous: false,
      change: { method: "POST", path: `/v1/dead-letters/${id}/redrive`, idempotencyKey: `redrive-${id}` },
    });
  }
  if (recipient) {
    offers.push({
      title: `Suppress ${recipient}?`,
      text: "Nothing of this project goes to that address any more, waiting mail included, until somebody takes it off the list.",
      action: "Suppress recipient",
      dangerous: true,
      change: { method: "POST", path: "/v1/suppressions", body: { recipient, reason: "manual" } },
    });
  }
  return offers;
}

function Actions({ message }: { message: Message }) {
  const [chosen, setChosen] = useState<Offer | null>(null);
  const [done, setDone] = useState("");
  const [, go] = useLocation();
  const change = useChange<{ message_id?: string }>();
  const carryOut = (offer: Offer) =>
    change.mutate(offer.change, {
      onSuccess: (answer) => {
        setChosen(null);
        setDone(`${offer.action}: done.`);
        if (offer.action === "Re-drive" && answer.message_id) go(`/messages/${answer.message_id}`);
      },
    });
  return (
    <div>
      <div className="buttons">
        {offersOf(message).map((offer) => (
          <button
            key={offer.action}
            type="button"
            onClick={() => {
              change.reset();
              setChosen(offer);
            }}
          >
            {offer.action}
          </button>
        ))}
      </div>
      <p role="status" className="quiet">
        {done}
      </p>
      {chosen && (
        <Dialog
          title={chosen.title}
          action={chosen.action}
          dangerous={chosen.dangerous}
          busy={change.isPending}
          failure={change.error}
          onDone={() => carryOut(chosen)}
          onClose={() => setChosen(null)}
        >
          <p>{chosen.text}</p>
        </Dialog>
      )}
    </div>
  );
}
