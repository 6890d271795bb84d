/** uPlot, dressed for the screens: colours from the page, dates and numbers in the reader's language, the size of its box. */
import type uPlot from 'uplot';
import type { Formats } from '../lib/format';

export interface Lines {
  data: uPlot.AlignedData;
  series: { label: string; stepped?: boolean }[];
  format: (value: number) => string;
  height: number;
  openLast: boolean;
  range: [number, number] | undefined;
  locale: Formats;
}

const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const DAY_S = 86_400;

/** The colour that a token has now; a canvas cannot read tokens itself. */
function colour(box: HTMLElement, token: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${token})`;
  box.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export async function drawLines(box: HTMLElement, lines: Lines): Promise<{ plot: uPlot; stop: () => void }> {
  const [{ default: UPlot }] = await Promise.all([import('uplot'), import('uplot/dist/uPlot.min.css')]);
  const { format, locale, height, openLast, range } = lines;
  const [text, grid, surface] = [colour(box, '--muted'), colour(box, '--grid'), colour(box, '--surface')];
  const strokes = [1, 2, 3, 4].map((n) => colour(box, `--series-${n}`));
  const font = `11px ${getComputedStyle(box).fontFamily}`;
  // Only times of one day are told apart by the clock.
  const moment = (ms: number, span: number): string => (span > 3 * DAY_S * 1000 ? locale.date(ms) : span > DAY_S * 500 ? locale.hour(ms) : locale.clock(ms));
  const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  const tip = document.createElement('div');
  tip.className = 'uplot-tip';
  tip.hidden = true;

  const plot = new UPlot(
    {
      width: Math.max(200, box.clientWidth),
      height,
      ms: 1,
      legend: { show: false },
      cursor: { y: false, points: { size: 8 } },
      scales: { x: { time: true }, y: { range: range ?? ((_, low, high) => [Math.min(0, low ?? 0), Math.max(1, (high ?? 1) * 1.12)]) } },
      axes: [
        { ...axis, size: 30, space: 95, values: (self, ticks) => ticks.map((tick) => moment(tick, (self.scales['x']?.max ?? 0) - (self.scales['x']?.min ?? 0))) },
        { ...axis, size: (_, values) => 14 + 6.5 * Math.max(3, ...(values ?? []).map((value) => value.length)), values: (_, ticks) => ticks.map(format) },
      ],
      series: [
        {},
        ...lines.series.map((one, i) => ({
          label: one.label,
          stroke: strokes[i % 4] as string,
          width: 2,
          dash: DASHES[i % 4] as number[],
          points: {
            show: (self: uPlot) => self.data[0].length < 40 || openLast,
            size: 6,
            fill: surface,
            ...(openLast ? { filter: (self: uPlot) => [self.data[0].length - 1] } : {}),
          },
          ...(one.stepped && UPlot.paths.stepped ? { paths: UPlot.paths.stepped({ align: 1 }) } : {}),
        })),
      ],
      hooks: {
        init: [(self) => self.over.append(tip)],
        setCursor: [
          (self) => {
            const at = self.cursor.idx;
            const time = at === null || at === undefined ? undefined : self.data[0][at];
            tip.hidden = time === undefined || (self.cursor.left ?? -1) < 0;
            if (tip.hidden || at === null || at === undefined || time === undefined) return;
            const said = lines.series.map((one, i) => {
              const value = self.data[i + 1]?.[at];
              return `${one.label}: ${value === null || value === undefined ? '—' : format(value)}`;
            });
            tip.textContent = [moment(time, (self.scales['x']?.max ?? 0) - (self.scales['x']?.min ?? 0)), ...said].join('\n');
            const left = self.valToPos(time, 'x');
            tip.style.left = `${left > self.over.clientWidth / 2 ? left - tip.offsetWidth - 10 : left + 10}px`;
          },
        ],
      },
    },
    lines.data,
    box,
  );
  const observer = new ResizeObserver(() => {
    const width = Math.floor(box.clientWidth);
    if (width > 0 && width !== plot.width) plot.setSize({ width, height });
  });
  observer.observe(box);
  return {
    plot,
    stop() {
      observer.disconnect();
      plot.destroy();
    },
  };
}
