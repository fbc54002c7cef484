import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { type FilterField, filtersOf, parametersOf } from "../filters";
import { count, words } from "../format";
import { Dialog } from "../parts/dialog";
import { Filters } from "../parts/filters";
import { List } from "../parts/list";
import { curl, Empty } from "../parts/notice";
import { Time } from "../parts/time";
import { useChange } from "../queries";
import { CATEGORIES, type DeadLetter, type DeadLetterGroup } from "../shapes";

const FIELDS: FilterField[] = [
  { name: "category", label: "Cause", options: CATEGORIES },
  { name: "recipient_domain", label: "Recipient's domain", placeholder: "example.org" },
  { name: "tag", label: "Tag", placeholder: "otp" },
  { name: "template", label: "Template", placeholder: "otp-code" },
  { name: "path", label: "Path", placeholder: "mx:main" },
  { name: "since", label: "Since", kind: "time" },
  { name: "until", label: "Until", kind: "time" },
];

interface Redrive {
  title: string;
  text: string;
  body: { message_ids: string[] } | { filters: Record<string, unknown>; limit: number };
}

/** A result for each message, in order. */
interface Redriven {
  data: { message_id?: string; error?: { message: string } }[];
}

export function DeadLetters() {
  const [address] = useSearchParams();
  const parameters = parametersOf(filtersOf(address, FIELDS), FIELDS);
  const [asked, setAsked] = useState<Redrive | null>(null);
  const all = () =>
    setAsked({
      title: "Re-drive all that fit the filters?",
      text: "Up to 1,000 new messages with the same content, each with a timeline of its own.",
      body: { filters: parameters, limit: 1_000 },
    });
  const one = (letter: DeadLetter) =>
    setAsked({
      title: `Send to ${letter.recipient} again?`,
      text: "A new message with the same content; this one stays as it is.",
      body: { message_ids: [letter.message_id] },
    });
  return (
    <>
      <header className="page">
        <h1>Dead letters</h1>
        <button type="button" onClick={all}>
          Re-drive all that fit
        </button>
      </header>
      <p className="quiet">
        What failed for good, by cause. A re-drive makes new messages; content is kept for seven days.
      </p>
      <h2>Causes</h2>
      <List<DeadLetterGroup>
        path="/v1/dead-letters/groups"
        parameters={{ since: parameters["since"], until: parameters["until"] }}
        what="groups of dead letters"
        live
        head={["Cause", "Where", "Messages", "What the server said", "Last"]}
        row={(group) => <GroupRow key={JSON.stringify(group.cause)} group={group} />}
        empty={<p className="quiet">No cause: nothing has failed for good.</p>}
      />
      <h2>Messages</h2>
      <Filters fields={FIELDS} first={3} />
      <List<DeadLetter>
        path="/v1/dead-letters"
        parameters={parameters}
        what="dead letters"
        live
        head={["Recipient", "Cause", "What the server said", "Attempts", "Failed", "(Actions)"]}
        row={(letter) => <LetterRow key={letter.message_id} letter={letter} redrive={() => one(letter)} />}
        empty={
          <Empty
            title="No dead letter"
            command={curl("/v1/messages", "POST", {
              recipient: "bounce@sandbox.sendarix.test",
              subject: "Hello",
              text: "Hello.",
            })}
          >
            Nothing has failed for good. To see one, send to an address that bounces, with a test key:
          </Empty>
        }
      />
      {asked && <RedriveDialog redrive={asked} onClose={() => setAsked(null)} />}
    </>
  );
}

function GroupRow({ group }: { group: DeadLetterGroup }) {
  const { category, enhanced_code, provider_group, recipient_domain } = group.cause;
  return (
    <tr>
      <td>
        <Link href={`/dead-letters?category=${category}`}>{words(category)}</Link>
        {enhanced_code && <small className="quiet">{enhanced_code}</small>}
      </td>
      <td>{provider_group ?? recipient_domain ?? "–"}</td>
      <td className="number">{count(group.messages)}</td>
      <td className="long">
        <code>{group.sample.reply ?? "–"}</code>
      </td>
      <td className="when">
        <Time at={group.last_at} />
      </td>
    </tr>
  );
}

function LetterRow({ letter, redrive }: { letter: DeadLetter; redrive: () => void }) {
  return (
    <tr>
      <td>
        <Link href={`/messages/${letter.message_id}`}>{letter.recipient}</Link>
        {letter.redriven_as.map((id) => (
          <small key={id} className="quiet">
            sent again as <Link href={`/messages/${id}`}>{id.slice(0, 12)}…</Link>
          </small>
        ))}
      </td>
      <td>{words(letter.category)}</td>
      <td className="long">
        <code>{letter.reply ?? "–"}</code>
      </td>
      <td className="number">{letter.attempts}</td>
      <td className="when">
        <Time at={letter.failed_at} />
      </td>
      <td className="actions">
        <button type="button" onClick={redrive} aria-label={`Re-drive the mail to ${letter.recipient}`}>
          Re-drive
        </button>
      </td>
    </tr>
  );
}

function RedriveDialog({ redrive, onClose }: { redrive: Redrive; onClose: () => void }) {
  const change = useChange<Redriven>();
  const [idempotencyKey] = useState(() => crypto.randomUUID()); // of this question: a second click sends nothing twice
  const [refusals, setRefusals] = useState<string[]>([]);
  const start = () =>
    change.mutate(
      { method: "POST", path: "/v1/dead-letters/redrive", body: redrive.body, idempotencyKey },
      {
        onSuccess: ({ data }) => {
          const refused = data.flatMap(({ error }) => (error ? [error.message] : []));
          if (refused.length === 0) onClose();
          setRefusals(refused);
        },
      },
    );
  return (
    <Dialog
      title={redrive.title}
      action="Re-drive"
      busy={change.isPending}
      failure={change.error}
      onDone={start}
      onClose={onClose}
    >
      <p>{redrive.text}</p>
      {refusals.length > 0 && (
        <div className="notice notice-bad" role="alert">
          <h3>
            {count(refusals.length)} of {count(change.data?.data.length)} not sent again
          </h3>
          <ul>
            {[...new Set(refusals)].map((message) => (
              <li key={message}>{message}</li>
            ))}
          </ul>
        </div>
      )}
    </Dialog>
  );
}
