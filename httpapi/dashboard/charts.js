// Charts of the last minutes, drawn by uPlot.

import { element } from "./format.js";

const windowSeconds = 300;
const leastSeconds = 60;
const maxPoints = 400;

const wholes = Array.from({ length: 10 }, (_, k) => [1, 2, 5].map((n) => n * 10 ** k)).flat(); // steps of an axis that counts

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// time is written with seconds where the labels are less than a minute apart.
function time(s, step) {
  const text = new Date(s * 1000).toLocaleTimeString("en-GB");
  return step < 60 ? text : text.slice(0, 5);
}

// Chart has lines over time. Each of series is {label, color, fill?, format}; axis is {least, whole?, format}.
export class Chart {
  constructor(root, series, axis) {
    this.root = root;
    this.series = series;
    this.axis = axis;
    this.data = [[], ...series.map(() => [])];
    this.legend = element("div", "values");
    this.values = series.map((s) => {
      const item = element("span", "value");
      const mark = element("i");
      mark.dataset.color = s.color;
      const value = element("b", "", "–");
      item.append(mark, element("span", "", s.label), value);
      this.legend.append(item);
      return value;
    });
    this.canvas = element("div", "canvas");
    root.append(this.canvas, this.legend);
    this.hovered = null;
    this.draw();
    new ResizeObserver(() => this.fit()).observe(this.canvas);
  }

  // draw makes the chart anew, in the colors of the theme.
  draw() {
    if (this.plot) this.plot.destroy();
    const grid = { stroke: color("grid"), width: 1 };
    const em = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const font = `${Math.round(0.74 * em)}px system-ui, sans-serif`;
    for (const mark of this.legend.querySelectorAll("i")) mark.style.background = color(mark.dataset.color);
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [8, 1.9 * em, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: {
          x: { range: () => [this.now() - this.shown(), this.now()] },
          y: { range: (_, low, high) => [0, Math.max(this.axis.least, (high || 0) * 1.15)] },
        },
        axes: [
          { stroke: color("quiet"), grid: { show: false }, ticks: { show: false }, font, space: 4.6 * em, size: 1.7 * em,
            values: (_, at, axis, space, step) => at.map((s) => time(s, step)) },
          { stroke: color("quiet"), grid, ticks: { show: false }, font, space: 2.2 * em, size: 3 * em,
            incrs: this.axis.whole ? wholes : undefined, values: (_, at) => at.map(this.axis.format) },
        ],
        series: [
          {},
          ...this.series.map((s) => ({
            label: s.label, stroke: color(s.color), width: 2, spanGaps: false, points: { show: false },
            fill: s.fill ? color(s.color) + "2e" : undefined,
          })),
        ],
        hooks: { setCursor: [(plot) => this.hover(plot.cursor.idx)] },
      },
      this.data,
      this.canvas,
    );
  }

  now() {
    const times = this.data[0];
    return times.length ? times[times.length - 1] : Date.now() / 1000;
  }

  // shown is how many seconds there is something to show of.
  shown() {
    return Math.min(windowSeconds, Math.max(leastSeconds, this.now() - (this.data[0][0] ?? Infinity)));
  }

  size() {
    return { width: Math.max(120, this.canvas.clientWidth), height: Math.max(80, this.canvas.clientHeight) };
  }

  fit() {
    const { width, height } = this.size();
    if (width !== this.plot.width || height !== this.plot.height) this.plot.setSize({ width, height });
  }

  hover(index) {
    this.hovered = index ?? null;
    this.tell();
  }

  tell() {
    const index = this.hovered ?? this.data[0].length - 1;
    this.series.forEach((s, i) => {
      const value = this.data[i + 1][index];
      this.values[i].textContent = value === null || value === undefined ? "–" : s.format(value);
    });
  }

  // add appends a point; null has no value.
  add(at, values) {
    this.data[0].push(at);
    values.forEach((v, i) => this.data[i + 1].push(v));
    if (this.data[0].length > maxPoints) this.data.forEach((d) => d.shift());
    if (!document.hidden) this.plot.setData(this.data);
    this.tell();
  }

  // gap breaks the lines where nothing was known.
  gap() {
    const times = this.data[0];
    if (times.length) this.add(times[times.length - 1] + 0.001, this.series.map(() => null));
  }
}
