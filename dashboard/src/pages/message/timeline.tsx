import { absolute, duration, shortType, words } from "../../format";
import { StatusMark } from "../../parts/status";
import type { MailEvent } from "../../shapes";

/** Every event as it stands in Kafka, oldest first. */
export function Timeline({ timeline }: { timeline: MailEvent[] }) {
  const began = Date.parse(timeline[0]?.time ?? "");
  return (
    <section>
      <h2>Timeline</h2>
      <ol className="timeline">
        {timeline.map((event) => (
          <li key={event.id}>
            <time dateTime={event.time} title={absolute(event.time)}>
              +{duration(Date.parse(event.time) - began)}
            </time>
            <div>
              <StatusMark status={shortType(event.type)} />
              <span className="quiet"> {absolute(event.time)}</span>
              {said(event) && <p>{said(event)}</p>}
              <details>
                <summary>
                  <code>{event.id}</code>
                </summary>
                <pre>{JSON.stringify(event, null, 2)}</pre>
              </details>
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** What an event says in one line. */
function said({ data }: MailEvent): string {
  const parts = [
    data.attempt?.reply,
    data.category && data.category !== "delivered" && words(data.category),
    data.reason && `waits: ${words(data.reason)}`,
    data.next_attempt_at && `next at ${absolute(data.next_attempt_at)}`,
    data.scheduled_time && `for ${absolute(data.scheduled_time)}`,
    data.path && !data.attempt && `path ${data.path}`,
    data.feedback && `${words(data.feedback.kind)}, late`,
    data.by && `by ${data.by}`,
  ];
  return parts.filter(Boolean).join(" · ");
}
