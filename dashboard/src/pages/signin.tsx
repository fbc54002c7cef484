import { type FormEvent, useState } from "react";
import { ask, Failure } from "../api";
import { Command, FailureNotice } from "../parts/notice";

/** A key that the API knows is let in, whatever its scopes: pages say by themselves which one they miss. */
async function check(key: string): Promise<Failure | null> {
  try {
    await ask(key, "/v1/messages?limit=1");
    return null;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.code === "insufficient_scope" || error.status === 503 ? null : error;
  }
}

export function SignIn({ enter }: { enter: (key: string) => void }) {
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget).get("key") ?? "").trim();
    setBusy(true);
    const wrong = await check(key);
    setBusy(false);
    setFailure(wrong);
    if (!wrong) enter(key);
  };
  return (
    <main className="signin">
      <form onSubmit={submit}>
        <h1>
          <img src="/dashboard/favicon.svg" alt="" width="28" height="28" /> Sendarix
        </h1>
        <label>
          <span>API key</span>
          <input
            name="key"
            type="password"
            required
            placeholder="sk_live_…"
            autoComplete="off"
            spellCheck={false}
            aria-describedby="key-kept"
          />
        </label>
        <p id="key-kept" className="quiet">
          It stays in this tab and is forgotten when you close it. It may do what its scopes allow.
        </p>
        {failure && <FailureNotice failure={failure} what="API" />}
        <button type="submit" className="primary" disabled={busy}>
          {busy ? "Checking …" : "Sign in"}
        </button>
      </form>
      <details>
        <summary>Where do I find a key?</summary>
        <p>
          On your own machine, <code>make up</code> and <code>make demo</code> make one:
        </p>
        <Command text={". .run/env && echo $SENDARIX_API_KEY"} />
        <p>Elsewhere, ask who runs Sendarix for you for a key of your project.</p>
      </details>
    </main>
  );
}
