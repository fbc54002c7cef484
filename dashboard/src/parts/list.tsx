// One page of a list of the API: its rows, or why there are none; and the way to the next page, by cursor.

import type { ReactNode } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import type { Parameters } from "../api";
import { useAnswer } from "../queries";
import type { Page } from "../shapes";
import { FailureNotice, Loading } from "./notice";

interface Props<T> {
  path: string;
  parameters?: Parameters;
  /** What it is a list of, in the plural. */
  what: string;
  empty: ReactNode;
  live?: boolean;
  every?: number;
  head: readonly string[];
  /** One `<tr>`. */
  row: (entry: T) => ReactNode;
}

/** `after` in the page's address is the cursor, so that the browser's back button goes back a page. */
export function List<T>({ path, parameters = {}, what, empty, live = false, every, head, row }: Props<T>) {
  const [address] = useSearchParams();
  const after = address.get("after");
  const watch = every === undefined ? { live } : { live, every };
  const { data, error, isPlaceholderData } = useAnswer<Page<T>>(path, { ...parameters, after }, watch);
  if (error) return <FailureNotice failure={error} what={what} />;
  if (!data) return <Loading />;
  if (data.data.length === 0 && !after) return <>{empty}</>;
  return (
    <>
      <div className="scroll" aria-busy={isPlaceholderData}>
        <table>
          <thead>
            <tr>
              {head.map((name) => (
                <th key={name} scope="col">
                  {name.startsWith("(") ? <span className="unseen">{name.slice(1, -1)}</span> : name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{data.data.map(row)}</tbody>
        </table>
      </div>
      <Pages address={address} after={after} next={data.has_more ? data.next_cursor : null} />
    </>
  );
}

function Pages({ address, after, next }: { address: URLSearchParams; after: string | null; next: string | null }) {
  const [location] = useLocation();
  if (!after && !next) return null;
  const to = (cursor: string | null) => {
    const query = new URLSearchParams(address);
    query.delete("after");
    if (cursor) query.set("after", cursor);
    return `${location}?${query}`;
  };
  return (
    <nav className="pages" aria-label="Pages">
      {after && <Link href={to(null)}>Newest</Link>}
      {next && (
        <Link href={to(next)} rel="next">
          Next page
        </Link>
      )}
    </nav>
  );
}
