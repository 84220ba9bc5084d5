import type { TraceMetadata } from '../capture/trace/index.ts';

/** A component of a path may have 255 bytes on Linux. */
const MAX_COMPONENT_BYTES = 255;

const UNKNOWN = 'unknown';

/**
 * The folders of a trace in a data set that is partitioned as Hive does it, "host=H/kernel=K": readers take them for two more columns. The host
 * is its CPU's model, as times depend on that (and on being an emulated one), not its name. Other bytes than letters, digits, "." "_" "-" are
 * written %XX, which readers undo.
 */
export function hivePath({ host }: Pick<TraceMetadata, 'host'>): string {
  const model = host?.cpu.model.trim() || UNKNOWN;
  const parts = [
    ['host', host?.emulated === true ? `${model} (emulated)` : model],
    ['kernel', host?.kernel.release.trim() || UNKNOWN],
  ] as const;
  return parts.map(([key, value]) => component(key, value)).join('/');
}

function component(key: string, value: string): string {
  let text = `${key}=`;
  // By characters, so that one that has no room left is not cut in the middle.
  for (const character of value) {
    const escaped = /^[\w.-]$/.test(character) ? character : percent(character);
    if (text.length + escaped.length > MAX_COMPONENT_BYTES) break;
    text += escaped;
  }
  return text;
}

function percent(character: string): string {
  return Buffer.from(character)
    .toString('hex')
    .toUpperCase()
    .replace(/../g, (byte) => `%${byte}`);
}
