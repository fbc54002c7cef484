import { duration, shortType } from "../../format";
import { StatusMark } from "../../parts/status";
import { conversation, type Tried } from "../../story";

/** How far each attempt came with the mail server, and what that said. */
export function Conversation({ tried }: { tried: Tried[] }) {
  return (
    <section>
      <h2>SMTP conversations</h2>
      {tried.length === 0 && <p className="quiet">It has not been tried yet.</p>}
      {tried.map(({ event, attempt }, index) => (
        <details key={event.id} className="attempt" open={index === tried.length - 1}>
          <summary>
            <b>Attempt {attempt.number}</b> <StatusMark status={shortType(event.type)} />
            <span className="quiet">
              {" "}
              {duration(Date.parse(attempt.finished_at) - Date.parse(attempt.started_at))}
              {event.data.rule_id && ` · rule ${event.data.rule_id}`}
            </span>
          </summary>
          <p className="quiet">
            {attempt.path} → {attempt.mx_host ?? "no host"}
            {attempt.mx_address && ` (${attempt.mx_address})`}
            {attempt.source_address && ` from ${attempt.source_address}`}, {attempt.tls ?? "not encrypted"}
            {attempt.path === "sandbox" && "; the sandbox stands in for the mail server"}
          </p>
          <ol className="smtp">
            {conversation(attempt).map((step) => (
              <li key={step.phase} data-state={step.state}>
                <span>{step.says}</span>
                <span>
                  {step.state === "passed" && "ok"}
                  {step.state === "not reached" && "not reached"}
                  {step.state === "ended" && <code>{attempt.reply ?? "no answer"}</code>}
                </span>
              </li>
            ))}
          </ol>
        </details>
      ))}
    </section>
  );
}
