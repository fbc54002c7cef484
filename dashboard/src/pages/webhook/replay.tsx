import { Dialog } from "../../parts/dialog";
import { useChange } from "../../queries";
import type { Replay } from "../../shapes";

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
        onSuccess: ({ id, status }) => {
          said(`Replay ${id}: ${status}. Its attempts will stand below.`);
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
