import { duration, words } from "../../format";
import { toneOf } from "../../parts/status";
import { useNow } from "../../parts/time";
import type { Message } from "../../shapes";
import { attemptsOf, ENDED, stretches } from "../../story";

/** The states that the message went through, each as wide as the logarithm of how long it lasted; hatched where it lasts on. */
export function Picture({ message }: { message: Message }) {
  const nowMs = useNow();
  const timeline = message.timeline ?? [];
  const parts = stretches(timeline, ENDED.has(message.status), nowMs);
  const first = parts[0];
  const last = parts.at(-1);
  if (!first || !last) return null;
  const tried = attemptsOf(timeline).length;
  return (
    <figure className="picture">
      <ol>
        {parts.map((part) => (
          <li
            key={`${part.status} ${part.fromMs}`}
            className={`tone-${toneOf(part.status)}`}
            data-open={part.open}
            style={{ flexGrow: part.share }}
          >
            <b>{words(part.status)}</b>
            <span className="quiet">
              {part.toMs > part.fromMs ? duration(part.toMs - part.fromMs) : ENDED.has(part.status) ? "end" : "0 ms"}
            </span>
          </li>
        ))}
      </ol>
      <figcaption className="quiet">
        {tried === 1 ? "1 attempt" : `${tried} attempts`}
        {ENDED.has(message.status) && ` within ${duration(last.fromMs - first.fromMs)}`}. Wider is longer, on a
        logarithmic scale.
      </figcaption>
    </figure>
  );
}
