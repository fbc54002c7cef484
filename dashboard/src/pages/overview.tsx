import { useMemo } from "react";
import { Link, useSearchParams } from "wouter";
import { count, duration, percent, words } from "../format";
import { RANGES, rangeOf, timesOf, valuesOf } from "../metrics";
import { Chart } from "../parts/chart";
import { curl, Empty, FailureNotice, Loading } from "../parts/notice";
import { useNow } from "../parts/time";
import { useAnswer } from "../queries";
import type { Metrics, MetricsRow } from "../shapes";

const DIMENSIONS = ["tag", "recipient_domain", "template", "path", "error_category"] as const;

export function Overview() {
  const [address, setAddress] = useSearchParams();
  const range = rangeOf(address.get("range"));
  const by = DIMENSIONS.find((name) => name === address.get("by")) ?? "tag";
  const to = (changed: Record<string, string>) => `/?${new URLSearchParams({ range: range.name, by, ...changed })}`;
  const minute = Math.floor(useNow() / 60_000); // the question stays the same within a minute, so its answer can be kept
  const asked = useMemo(
    () => ({
      since: new Date(minute * 60_000 - range.ms).toISOString(),
      until: new Date((minute + 1) * 60_000).toISOString(),
      time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    }),
    [minute, range],
  );
  const series = useAnswer<Metrics>(
    "/v1/metrics",
    { ...asked, interval: range.interval },
    { live: true, every: 15_000 },
  );
  const total = useAnswer<Metrics>("/v1/metrics", { ...asked, interval: "total" }, { live: true, every: 15_000 });
  const groups = useAnswer<Metrics>(
    "/v1/metrics",
    { ...asked, interval: "total", group_by: by },
    { live: true, every: 15_000 },
  );
  return (
    <>
      <header className="page">
        <h1>Overview</h1>
        <nav className="tabs" aria-label="Time">
          {RANGES.map(({ name, label }) => (
            <Link key={name} href={to({ range: name })} aria-current={name === range.name ? "true" : undefined}>
              {label}
            </Link>
          ))}
        </nav>
      </header>
      {series.error ? (
        <FailureNotice failure={series.error} what="metrics" />
      ) : (
        <>
          <Totals total={total.data} />
          {series.data ? <Charts rows={series.data.data} /> : <Loading />}
          <section>
            <header className="page">
              <h2>Broken down by</h2>
              <select
                aria-label="Broken down by"
                value={by}
                onChange={(event) => setAddress({ range: range.name, by: event.target.value })}
              >
                {DIMENSIONS.map((name) => (
                  <option key={name} value={name}>
                    {words(name)}
                  </option>
                ))}
              </select>
            </header>
            {groups.data && <Groups rows={groups.data.data} by={by} />}
          </section>
        </>
      )}
    </>
  );
}

function Totals({ total }: { total: Metrics | undefined }) {
  const row = total?.data[0];
  const behind = total?.behind_ms;
  const number = (measure: "queued" | "delivered" | "bounced" | "deferred" | "complained") =>
    count(total && (row?.[measure] ?? 0)); // nothing is said before it is known
  const cells: [string, string, string][] = [
    ["Queued", number("queued"), "accepted"],
    ["Delivered", number("delivered"), percent(row?.delivery_rate)],
    ["Bounced", number("bounced"), percent(row?.bounce_rate)],
    ["Deferred", number("deferred"), percent(row?.deferral_rate)],
    ["Complaints", number("complained"), percent(row?.complaint_rate)],
    ["Time to delivery", row?.delivered_ms?.p50 == null ? "–" : duration(row.delivered_ms.p50), p95Of(row)],
  ];
  return (
    <>
      <dl className="totals">
        {cells.map(([name, value, note]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd data-total={name}>{value}</dd>
            <dd className="quiet">{note}</dd>
          </div>
        ))}
      </dl>
      {behind != null && behind > 10_000 && (
        <p className="waiting">The numbers are {duration(behind)} behind: the read side catches up.</p>
      )}
    </>
  );
}

function p95Of(row: MetricsRow | undefined): string {
  return row?.delivered_ms?.p95 == null ? "median" : `median; p95 ${duration(row.delivered_ms.p95)}`;
}

function Charts({ rows }: { rows: MetricsRow[] }) {
  const times = useMemo(() => timesOf(rows), [rows]);
  const volume = useMemo(() => valuesOf(rows, ["queued", "delivered", "deferred", "bounced"]), [rows]);
  const rates = useMemo(
    () => valuesOf(rows, ["delivery_rate", "deferral_rate", "bounce_rate", "complaint_rate"]),
    [rows],
  );
  const latency = useMemo(
    () =>
      (["p50", "p95", "p99"] as const).map((name) => ({
        name,
        values: rows.map((row) => row.delivered_ms?.[name] ?? null),
      })),
    [rows],
  );
  if (!rows.some((row) => row.queued || row.delivered || row.bounced || row.deferred)) {
    return (
      <Empty
        title="Nothing happened in this time"
        command={curl("/v1/messages", "POST", { recipient: "ada@example.org", subject: "Hello", text: "Hello." })}
      >
        Look at a longer time, or send a mail; the charts follow within seconds.
      </Empty>
    );
  }
  return (
    <div className="charts">
      <Chart title="Messages" times={times} lines={volume} shown={count} />
      <Chart title="Rates" times={times} lines={rates} shown={percent} />
      <Chart title="Time to delivery" times={times} lines={latency} shown={(ms) => (ms == null ? "–" : duration(ms))} />
    </div>
  );
}

function Groups({ rows, by }: { rows: MetricsRow[]; by: string }) {
  const order = [...rows].sort((one, other) => other.queued - one.queued);
  return (
    <div className="scroll">
      <table>
        <thead>
          <tr>
            {[words(by), "Queued", "Delivered", "Delivery rate", "Bounced", "Bounce rate", "Deferred", "p95"].map(
              (name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>
          {order.map((row) => (
            <tr key={row.group[by] ?? ""}>
              <td>{row.group[by] || <span className="quiet">none</span>}</td>
              <td className="number">{count(row.queued)}</td>
              <td className="number">{count(row.delivered)}</td>
              <td className="number">{percent(row.delivery_rate)}</td>
              <td className="number">{count(row.bounced)}</td>
              <td className="number">{percent(row.bounce_rate)}</td>
              <td className="number">{count(row.deferred)}</td>
              <td className="number">{row.delivered_ms?.p95 == null ? "–" : duration(row.delivered_ms.p95)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
