import { useState } from "react";

export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1_500);
  };
  return (
    <button type="button" className="copy" onClick={copy} aria-label={label} title={label}>
      {done ? "Copied" : "Copy"}
    </button>
  );
}
