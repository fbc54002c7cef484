// Who is signed in: the key lives in this tab's sessionStorage, and nowhere else.

import { createContext, type ReactNode, useContext, useMemo, useState } from "react";
import { queries } from "./queries";

const ITEM = "sendarix.key";

interface Session {
  key: string;
  environment: string;
  signOut: () => void;
}

const Current = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(Current);
  if (!session) throw new Error("Nobody is signed in here.");
  return session;
}

interface Props {
  children: ReactNode;
  signIn: (enter: (key: string) => void) => ReactNode;
}

/** Shows `children` to who is signed in, `signIn` to everybody else. */
export function SessionGate({ children, signIn }: Props) {
  const [key, setKey] = useState(() => sessionStorage.getItem(ITEM));
  const session = useMemo(() => {
    if (!key) return null;
    const signOut = () => {
      sessionStorage.removeItem(ITEM);
      queries.clear();
      setKey(null);
    };
    return { key, environment: key.split("_")[1] ?? "live", signOut };
  }, [key]);
  if (!session) {
    return signIn((entered) => {
      sessionStorage.setItem(ITEM, entered);
      setKey(entered);
    });
  }
  return <Current value={session}>{children}</Current>;
}
