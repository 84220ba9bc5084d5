import { CvmtraceError } from '../native/index.ts';

const MS_OF_UNIT: Readonly<Record<string, number>> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 };

/** Parser for commander of an option that takes an age, as ms: 30d, 12h, 2w. */
export function ageOption(flag: string): (text: string) => number {
  return (text) => {
    const [, count = '', unit = ''] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? [];
    const ms = Number(count) * (MS_OF_UNIT[unit] ?? NaN);
    if (Number.isFinite(ms)) return ms;
    throw new CvmtraceError('USAGE', `${flag}: "${text}" is not an age`, {
      hint: `write it with its unit, s, m, h, d or w: ${flag} 30d`,
    });
  };
}

/** How long ago something was, in the largest unit that gives a whole number of at least one: "3 days ago". */
export function formatAge(ms: number): string {
  const units = [
    ['week', MS_OF_UNIT['w']],
    ['day', MS_OF_UNIT['d']],
    ['hour', MS_OF_UNIT['h']],
    ['minute', MS_OF_UNIT['m']],
  ] as const;
  for (const [unit, size = Infinity] of units) {
    const count = Math.floor(ms / size);
    if (count >= 1) return `${count} ${unit}${count === 1 ? '' : 's'} ago`;
  }
  return 'just now';
}
