/** Values of a comparison in the cells of a table. */
import type { ComparedGroup, ComparedMeasure } from '../bench/compare/comparison.ts';
import { formatCount } from './format-count.ts';
import { formatDuration } from './format-duration.ts';

const MAX_NAME_CHARS = 40;

export function phaseText({ phase, occurrence }: ComparedGroup): string {
  const name = phase === null ? '(before the first mark)' : phase === '' ? '(without a name)' : shortened(phase);
  return occurrence > 1 ? `${name} #${occurrence}` : name;
}

/** A mark may be a whole line of a kernel's log. */
function shortened(name: string): string {
  const characters = Array.from(name);
  return characters.length <= MAX_NAME_CHARS ? name : `${characters.slice(0, MAX_NAME_CHARS - 1).join('')}…`;
}

/** `1.25 slower`, `~ 1.02`, or the ratio alone where nothing is said of it. */
export function ratioCell(compared: ComparedMeasure | undefined): string {
  if (!compared || compared.aNs === null || compared.bNs === null) return '';
  const ratio = compared.ratio === null ? 'from 0' : ratioText(compared.ratio);
  switch (compared.verdict) {
    case 'slower':
    case 'faster':
      return `${ratio} ${compared.verdict}`;
    case 'indistinct':
      return `~ ${ratio}`;
    case 'unjudged':
      return ratio;
  }
}

export function interval({ low, high }: ComparedMeasure): string {
  if (low === null) return '';
  return `${ratioText(low)} .. ${high === null ? '' : ratioText(high)}`;
}

/** Three digits: 0.0380, 1.25, 12.3. */
export function ratioText(ratio: number): string {
  return ratio === 0 ? '0' : ratio >= 1000 ? formatCount(Math.round(ratio)) : ratio.toPrecision(3);
}

export function pText(p: number | null): string {
  if (p === null) return '';
  return p < 0.001 ? '<0.001' : p.toFixed(3);
}

/** 1.05 as "5 %". */
export function percent(ratio: number): string {
  return `${Number(((ratio - 1) * 100).toPrecision(2))} %`;
}

export function time(ns: number | null | undefined): string {
  return ns === null || ns === undefined ? '-' : formatDuration(ns);
}

/** The median over runs may end in a half. */
export function count(value: number | undefined): string {
  return value === undefined ? '' : Number.isInteger(value) ? formatCount(value) : value.toFixed(1);
}
