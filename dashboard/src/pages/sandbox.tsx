import { type SyntheticEvent, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { type FilterField, filtersOf } from "../filters";
import { bytes } from "../format";
import { Filters } from "../parts/filters";
import { List } from "../parts/list";
import { curl, Empty, FailureNotice, Loading } from "../parts/notice";
import { StatusMark } from "../parts/status";
import { Time } from "../parts/time";
import { useAnswer } from "../queries";
import type { SandboxMail } from "../shapes";

const FIELDS: FilterField[] = [{ name: "recipient", label: "Recipient", placeholder: "ada@example.org" }];

export function Sandbox() {
  const [address] = useSearchParams();
  const filters = filtersOf(address, FIELDS);
  return (
    <>
      <header className="page">
        <h1>Sandbox inbox</h1>
      </header>
      <p className="quiet">What test keys sent: the whole way, except to a mail server. Kept for three days.</p>
      <Filters fields={FIELDS} first={1} />
      <List<SandboxMail>
        path="/v1/sandbox/messages"
        parameters={filters}
        what="sandbox inbox"
        live
        head={["Subject", "Recipient", "From", "Outcome", "Size", "Received"]}
        row={(mail) => <Row key={mail.message_id} mail={mail} />}
        empty={
          <Empty
            title="No mail here"
            command={curl("/v1/messages", "POST", {
              recipient: "delivered@sandbox.sendarix.test",
              subject: "Hello",
              text: "Hello.",
            })}
          >
            Send one with a test key (sk_test_…); any recipient will do, nothing leaves.
          </Empty>
        }
      />
    </>
  );
}

function Row({ mail }: { mail: SandboxMail }) {
  return (
    <tr>
      <td className="long">
        <Link href={`/sandbox/${mail.message_id}`}>{mail.subject || "(no subject)"}</Link>
      </td>
      <td>{mail.recipient}</td>
      <td>{mail.from}</td>
      <td>
        <StatusMark status={mail.outcome} />
      </td>
      <td className="number">{bytes(mail.size)}</td>
      <td className="when">
        <Time at={mail.received_at} />
      </td>
    </tr>
  );
}

const VIEWS = ["Preview", "Text", "Headers", "Raw"] as const;
type View = (typeof VIEWS)[number];

export function SandboxMailPage({ id }: { id: string }) {
  const { data: mail, error } = useAnswer<SandboxMail>(`/v1/sandbox/messages/${id}`);
  const [chosen, setChosen] = useState<View | null>(null);
  if (error) return <FailureNotice failure={error} what="mail" />;
  if (!mail) return <Loading />;
  const view = chosen ?? (mail.html ? "Preview" : "Text");
  return (
    <>
      <header className="page">
        <div>
          <p className="crumb">
            <Link href="/sandbox">Sandbox inbox</Link>
          </p>
          <h1>{mail.subject || "(no subject)"}</h1>
          <p>
            {mail.from} to <b>{mail.recipient}</b>, <Time at={mail.received_at} full />
          </p>
        </div>
        <Link href={`/messages/${id}`} className="button">
          Timeline
        </Link>
      </header>
      <nav className="tabs" aria-label="Parts of the mail">
        {VIEWS.map((name) => (
          <button key={name} type="button" aria-pressed={name === view} onClick={() => setChosen(name)}>
            {name}
          </button>
        ))}
      </nav>
      {mail.truncated ? (
        <Empty title="Too large to be kept">Mails above 900,000 bytes are listed without their content.</Empty>
      ) : (
        <Content mail={mail} view={view} />
      )}
      {(mail.attachments ?? []).length > 0 && (
        <>
          <h2>Attachments</h2>
          <ul className="files">
            {mail.attachments?.map((file) => (
              <li key={`${file.filename} ${file.content_id}`}>
                {file.filename ?? file.content_id}{" "}
                <span className="quiet">
                  {file.content_type}, {bytes(file.size)}
                </span>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

function Content({ mail, view }: { mail: SandboxMail; view: View }) {
  switch (view) {
    case "Preview":
      return mail.html ? <Preview html={mail.html} /> : <Empty title="No HTML">This mail has text only.</Empty>;
    case "Text":
      return mail.text ? (
        <pre className="content">{mail.text}</pre>
      ) : (
        <Empty title="No text">This mail has HTML only.</Empty>
      );
    case "Headers":
      return (
        <dl className="content headers">
          {mail.headers?.map(({ name, value }, index) => (
            <div key={index}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      );
    case "Raw":
      return <pre className="content">{mail.raw}</pre>;
  }
}

/**
 * The mail's HTML in a frame that runs no script, sends no form and fetches nothing: its sandbox and the policy of
 * mail.html see to that. What would make a browser look something up ahead, or go elsewhere, is left out.
 */
function Preview({ html }: { html: string }) {
  const write = ({ currentTarget: frame }: SyntheticEvent<HTMLIFrameElement>) => {
    const [page, own] = [frame.contentDocument, frame.contentWindow as (Window & typeof globalThis) | null];
    if (!page || !own) return;
    const mail = new own.DOMParser().parseFromString(html, "text/html"); // the frame's own: under the frame's policy
    for (const element of mail.querySelectorAll("script, link, meta, base, iframe, object, embed")) element.remove();
    page.replaceChild(page.importNode(mail.documentElement, true), page.documentElement);
  };
  return (
    <iframe
      key={html}
      className="content"
      title="The mail as HTML"
      sandbox="allow-same-origin"
      src="/dashboard/mail.html"
      onLoad={write}
    />
  );
}
