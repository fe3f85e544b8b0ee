// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A plot as an SVG file: lines over a logarithmic axis. It is read on light and dark ground.

export interface Line {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
}

export interface PlotOptions {
  title: string;
  xLabel: string;
  yLabel: string;
}

const [WIDTH, HEIGHT] = [760, 420];
const [LEFT, TOP, RIGHT, BOTTOM] = [70, 40, 220, 50];
const COLOURS = ['#8a8a8a', '#c0504d', '#4f81bd', '#2e9e8f', '#3c9a3c', '#b8860b', '#8064a2'];

/** The drawing. Lines need points with x above 0. @throws RangeError if there is nothing to draw */
export function plot(lines: readonly Line[], { title, xLabel, yLabel }: PlotOptions): string {
  const points = lines.flatMap((line) => line.points);
  if (points.length === 0) throw new RangeError('There are no points to plot');
  const xs = points.map(([x]) => Math.log10(x));
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const step = niceStep(Math.max(...points.map(([, y]) => y)));
  const top = Math.max(1, Math.ceil(Math.max(...points.map(([, y]) => y)) / step)) * step;
  const atX = (x: number): number =>
    LEFT + ((Math.log10(x) - low) / (high - low || 1)) * (WIDTH - LEFT - RIGHT);
  const atY = (y: number): number => HEIGHT - BOTTOM - (y / top) * (HEIGHT - TOP - BOTTOM);
  const marks = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const rules = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step);
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#808080">`,
    text(LEFT, 22, title, 'start', 15),
    ...rules.map(
      (y) => `<path d="M${LEFT} ${fix(atY(y))}H${WIDTH - RIGHT}" stroke="#808080" stroke-opacity="0.3"/>`,
    ),
    ...rules.map((y) => text(LEFT - 8, atY(y) + 4, fix(y), 'end')),
    ...marks.map((x) => text(atX(x), HEIGHT - BOTTOM + 20, x.toLocaleString('en'), 'middle')),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, xLabel, 'middle'),
    `<text transform="translate(18 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escaped(yLabel)}</text>`,
    ...lines.flatMap((line, i) => drawn(line, COLOURS[i % COLOURS.length]!, i, atX, atY)),
    '</svg>',
  ].join('\n')}\n`;
}

function drawn(
  { name, points }: Line,
  colour: string,
  i: number,
  atX: (x: number) => number,
  atY: (y: number) => number,
): string[] {
  const at = points.map(([x, y]) => `${fix(atX(x))},${fix(atY(y))}`);
  const y = TOP + 10 + i * 20;
  const left = WIDTH - RIGHT + 16;
  return [
    `<polyline points="${at.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...at.map((point) => {
      const [x, y] = point.split(',');
      return `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`;
    }),
    `<path d="M${left} ${y}h20" stroke="${colour}" stroke-width="2"/>`,
    text(left + 26, y + 4, name, 'start'),
  ];
}

const fix = (value: number): string => String(Math.round(value * 100) / 100);

function text(x: number, y: number, words: string, anchor: string, size?: number): string {
  const font = size ? ` font-size="${size}"` : '';
  return `<text x="${fix(x)}" y="${fix(y)}" text-anchor="${anchor}"${font}>${escaped(words)}</text>`;
}

const escaped = (words: string): string => words.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** 1, 2 or 5 times a power of 10, of which about five reach `most`. */
function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 5 || 1));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => most / step <= 6)!;
}
