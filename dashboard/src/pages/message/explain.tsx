import { absolute, words } from "../../format";
import { FailureNotice, Loading } from "../../parts/notice";
import { useAnswer } from "../../queries";
import type { Explanation } from "../../shapes";

/** Which rule, policy, check and path decided what, each with the event that shows it. */
export function Explain({ id }: { id: string }) {
  const { data, error } = useAnswer<Explanation>(`/v1/messages/${id}/explain`, {}, { live: true });
  return (
    <section>
      <h2>Why it went this way</h2>
      {error && <FailureNotice failure={error} what="explanation" />}
      {!error && !data && <Loading />}
      {data?.waiting && <p className="waiting">{data.waiting.text}</p>}
      {data && (
        <ol className="decisions">
          {data.decisions.map((decision, index) => (
            <li key={index}>
              <b>{words(decision.kind)}</b>
              <p>{decision.text}</p>
              <small className="quiet">
                {absolute(decision.at)}
                {decision.rule && ` · ${decision.rule}${decision.version ? ` v${decision.version}` : ""}`}
                {decision.event_id && (
                  <>
                    {" · "}
                    <code>{decision.event_id}</code>
                  </>
                )}
              </small>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
