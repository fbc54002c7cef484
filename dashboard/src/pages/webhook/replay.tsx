import { absolute, count, words } from "../../format";
import { Dialog } from "../../parts/dialog";
import { FailureNotice, Loading } from "../../parts/notice";
import { StatusMark } from "../../parts/status";
import { Time } from "../../parts/time";
import { useAnswer, useChange } from "../../queries";
import type { Page, Replay } from "../../shapes";

const LATEST = 5;

interface Props {
  path: string;
  said: (text: string) => void;
  onClose: () => void;
}

/** Sends one event again, or those of a window of time; `webhook-id` stays the event's, so nothing is processed twice. */
export function ReplayDialog({ path, said, onClose }: Props) {
  const replay = useChange<Replay>();
  const start = (form: FormData) => {
    const event = String(form.get("event_id")).trim();
    const since = new Date(Date.now() - Number(form.get("hours")) * 3_600_000).toISOString();
    const body = event
      ? { event_id: event }
      : { since, until: new Date().toISOString(), only_failed: form.get("only_failed") === "on" };
    replay.mutate(
      { method: "POST", path: `${path}/replays`, body },
      {
        onSuccess: ({ id }) => {
          said(`Replay ${id} is on its way; how it stands, and its attempts, are shown below.`);
          onClose();
        },
      },
    );
  };
  return (
    <Dialog
      title="Replay events"
      action="Start replay"
      busy={replay.isPending}
      failure={replay.error}
      onDone={start}
      onClose={onClose}
    >
      <p>Events are sent again with the ids they had, so a receiver that drops repeats by webhook-id is safe.</p>
      <label>
        <span>Those of the last</span>
        <select name="hours" defaultValue="1">
          <option value="1">hour</option>
          <option value="6">6 hours</option>
          <option value="24">24 hours</option>
          <option value="72">3 days</option>
        </select>
      </label>
      <label className="check">
        <input type="checkbox" name="only_failed" defaultChecked /> Only what failed
      </label>
      <label>
        <span>Or this one event</span>
        <input name="event_id" placeholder="evt_…" />
      </label>
    </Dialog>
  );
}

/** The latest replays and how each stands; nothing where there was none. */
export function Replays({ path }: { path: string }) {
  const { data, error } = useAnswer<Page<Replay>>(`${path}/replays`, { limit: String(LATEST) }, { every: 3_000 });
  if (error) return <FailureNotice failure={error} what="list of replays" />;
  if (!data) return <Loading />;
  if (data.data.length === 0) return null;
  return (
    <>
      <h2>Replays</h2>
      <div className="scroll">
        <table aria-label="Replays">
          <thead>
            <tr>
              {["State", "Of", "Found", "Called again", "Asked for"].map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {data.data.map((replay) => (
              <ReplayRow key={replay.id} replay={replay} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function ReplayRow({ replay }: { replay: Replay }) {
  return (
    <tr>
      <td>
        <StatusMark status={replay.status} />
        {replay.reason && <small className="quiet">{words(replay.reason)}</small>}
      </td>
      <td>
        {replay.event_id ? <code>{replay.event_id}</code> : windowOf(replay)}
        {replay.only_failed && <small className="quiet">only what failed</small>}
        <small className="quiet">
          <code>{replay.id}</code>
        </small>
      </td>
      <td className="number">{count(replay.matched)}</td>
      <td className="number">{count(replay.queued)}</td>
      <td className="when">
        <Time at={replay.created_at} />
      </td>
    </tr>
  );
}

function windowOf({ since, until }: Replay): string {
  return `${since && absolute(since)} to ${until && absolute(until)}`;
}
