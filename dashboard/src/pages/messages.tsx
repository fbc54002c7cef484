import { Link, useSearchParams } from "wouter";
import { type FilterField, filtersOf, parametersOf } from "../filters";
import { words } from "../format";
import { Filters } from "../parts/filters";
import { List } from "../parts/list";
import { curl, Empty } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time } from "../parts/time";
import { CATEGORIES, type Message, STATUSES } from "../shapes";

const FIELDS: FilterField[] = [
  { name: "recipient", label: "Recipient", placeholder: "ada@example.org" },
  { name: "status", label: "Status", options: STATUSES },
  { name: "tag", label: "Tag", placeholder: "otp" },
  { name: "subject", label: "Subject has", placeholder: "receipt" },
  { name: "recipient_domain", label: "Recipient's domain", placeholder: "example.org" },
  { name: "from", label: "From", placeholder: "hello@example.com" },
  { name: "template", label: "Template", placeholder: "otp-code" },
  { name: "error_category", label: "Error category", options: CATEGORIES },
  { name: "path", label: "Path", placeholder: "mx:main" },
  { name: "channel", label: "Channel", options: ["api", "batch"] },
  { name: "since", label: "Since", kind: "time" },
  { name: "until", label: "Until", kind: "time" },
];

export function Messages() {
  const [address] = useSearchParams();
  const filters = filtersOf(address, FIELDS);
  const filtered = Object.keys(filters).length > 0;
  return (
    <>
      <header className="page">
        <h1>Messages</h1>
      </header>
      <Filters fields={FIELDS} first={4} metadata />
      <List<Message>
        path="/v1/messages"
        parameters={parametersOf(filters, FIELDS)}
        what="list of messages"
        live
        head={["Status", "Recipient", "Subject", "Tags", "Attempts", "Created"]}
        row={(message) => <Row key={message.message_id} message={message} />}
        empty={
          filtered ? (
            <Empty title="No message is like that">Take a filter away, or look at a longer time.</Empty>
          ) : (
            <Empty
              title="No message yet"
              command={curl("/v1/messages", "POST", { recipient: "ada@example.org", subject: "Hello", text: "Hello." })}
            >
              Send one; it is here a second later.
            </Empty>
          )
        }
      />
    </>
  );
}

function Row({ message }: { message: Message }) {
  const { message_id, status, recipient, subject, tags = [], reason, outcome } = message;
  return (
    <tr>
      <td>
        <StatusMark status={status} />
      </td>
      <td>
        <Link href={`/messages/${message_id}`}>{recipient ?? message_id}</Link>
        {reason && <small className="quiet">waits: {words(reason)}</small>}
        {!reason && outcome && outcome.category !== "delivered" && (
          <small className="quiet">{words(outcome.category)}</small>
        )}
      </td>
      <td className="long">{subject ?? <span className="quiet">–</span>}</td>
      <td>
        {tags.map((tag) => (
          <Link key={tag} className="tag" href={`/messages?tag=${encodeURIComponent(tag)}`}>
            {tag}
          </Link>
        ))}
      </td>
      <td className="number">{message.attempts ?? 0}</td>
      <td className="when">
        <Time at={message.created_at} />
      </td>
    </tr>
  );
}
