// Asks before something happens. Whatever goes wrong is said here, where the question was.

import { type FormEvent, type ReactNode, useEffect, useId, useRef } from "react";
import type { Failure } from "../api";
import { FailureNotice } from "./notice";

interface Props {
  title: string;
  children?: ReactNode;
  /** What the button that does it says: a verb. */
  action: string;
  dangerous?: boolean;
  busy: boolean;
  failure: Failure | null;
  onDone: (form: FormData) => void;
  onClose: () => void;
}

export function Dialog({ title, children, action, dangerous = false, busy, failure, onDone, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => dialog.current?.showModal(), []);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    onDone(new FormData(event.currentTarget));
  };
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={onClose}>
      <form onSubmit={submit}>
        <h2 id={heading}>{title}</h2>
        {children}
        {failure && <FailureNotice failure={failure} what="such action" />}
        <div className="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Back
          </button>
          <button type="submit" className={dangerous ? "danger" : "primary"} disabled={busy}>
            {busy ? "Working …" : action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** Shown this once: a secret that no answer will ever hold again. */
export function SecretDialog({
  title,
  children,
  onClose,
}: {
  title: string;
  children: ReactNode;
  onClose: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={onClose}>
      <h2 id={heading}>{title}</h2>
      {children}
      <div className="buttons">
        <button type="button" className="primary" onClick={() => dialog.current?.close()}>
          I have stored it
        </button>
      </div>
    </dialog>
  );
}
