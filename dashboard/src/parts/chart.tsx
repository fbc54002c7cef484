// Lines over time. Each line has its colour, its dash and its name in the legend with a value, so colour alone says nothing;
// and the numbers can be had as a table.

import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { absolute } from "../format";
import { useTheme } from "../theme";

export interface Line {
  name: string;
  values: (number | null)[];
}

interface Props {
  title: string;
  /** Unix seconds, ascending. */
  times: number[];
  lines: Line[];
  shown: (value: number | null | undefined) => string;
}

const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
const HEIGHT = 190;
const FEW = 30; // so many values are also drawn as points, or one alone would not be seen
const DAY = 86_400; // seconds
const CHARACTER = 6.5; // pixels of one, at most, on the axis

/** A time of the axis: the hour, or the day where they are that far apart. */
function tick(seconds: number, distance: number): string {
  const format: Intl.DateTimeFormatOptions =
    distance < DAY ? { hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short" };
  return new Date(seconds * 1_000).toLocaleString("en-GB", format);
}

export function Chart({ title, times, lines, shown }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const [theme] = useTheme();
  const data = useMemo(() => [times, ...lines.map((line) => line.values)] as uPlot.AlignedData, [times, lines]);
  const latest = useRef(data);
  latest.current = data;
  const plot = useRef<uPlot | null>(null);
  const names = lines.map((line) => line.name).join("|");

  // Drawn anew for other colours and other lines; new values are only set.
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const drawn = new uPlot(options(element, names.split("|"), shown, setAt), latest.current, element);
    plot.current = drawn;
    const resized = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      drawn.destroy();
    };
  }, [theme, names]);
  useEffect(() => plot.current?.setData(data), [data]);

  const told = ({ values }: Line) => (at === null ? values.findLast((value) => value !== null) : values[at]);
  return (
    <section className="chart" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <ul className="legend">
          {lines.map((line, number) => (
            <li key={line.name}>
              <svg viewBox="0 0 20 8" aria-hidden="true" className={`line-${number + 1}`}>
                <path d="M0 4h20" strokeDasharray={DASHES[number]?.join(" ")} />
              </svg>
              {line.name} <b>{shown(told(line))}</b>
            </li>
          ))}
        </ul>
      </header>
      <div ref={place} className="plot" aria-hidden="true" />
      <details>
        <summary>As a table</summary>
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Time</th>
                {lines.map((line) => (
                  <th key={line.name} scope="col">
                    {line.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times.map((time, row) => (
                <tr key={time}>
                  <td>{absolute(new Date(time * 1_000).toISOString())}</td>
                  {lines.map((line) => (
                    <td key={line.name}>{shown(line.values[row])}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

function valued(drawn: uPlot, index: number): number {
  return (drawn.data[index] ?? []).filter((value) => value !== null).length;
}

function options(
  element: HTMLElement,
  names: string[],
  shown: Props["shown"],
  tell: (index: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color("--chart-text"),
    grid: { stroke: color("--chart-grid"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    hooks: { setCursor: [(drawn) => tell(drawn.cursor.idx ?? null)] },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        values: (_, splits) => splits.map((split) => tick(split, (splits[1] ?? split) - (splits[0] ?? split))),
      },
      {
        ...axis,
        size: (_, labels) => 20 + CHARACTER * Math.max(4, ...(labels ?? []).map((label) => label.length)),
        values: (_, splits) => splits.map((value) => shown(value)),
      },
    ],
    series: [
      {},
      ...names.map((label, number) => ({
        label,
        stroke: color(`--line-${number + 1}`),
        width: 2,
        dash: DASHES[number] ?? [],
        points: { size: 5, show: (drawn: uPlot, index: number) => valued(drawn, index) <= FEW },
        spanGaps: true,
      })),
    ],
  };
}
