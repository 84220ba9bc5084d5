import { markdownTable } from '../../capture/markdown-table.ts';
import { AXES, formatAxes } from './axes.ts';
import { PRESETS } from './presets.ts';

/** The README's tables of presets and axes; a test compares the README with them. */
export function strategyTables(): string {
  const presets = PRESETS.map(({ name, summary, imitates, axes }) => {
    const moved = Object.entries(formatAxes(axes)).map(([axis, value]) => `\`${axis}=${value}\``);
    return [`\`${name}\``, summary, imitates, moved.join(' ')];
  });
  const axes = [...AXES].map(([name, { summary, values }]) => [`\`${name}\``, summary, values]);
  return `${markdownTable(['preset', 'what it does', 'whom it imitates', 'axes'], presets)}\n\n${markdownTable(['axis', 'meaning', 'values'], axes)}`;
}
