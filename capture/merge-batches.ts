import type { ExecutedBatch } from '../native/index.ts';
import { bitmapBytes } from './trace/bitmap.ts';

/** Rows of one or more threads. */
export interface MergedBatch extends ExecutedBatch {
  readonly columns: ExecutedBatch['columns'] & { readonly tid?: Uint32Array };
}

type Column = BigUint64Array | BigInt64Array | Uint32Array | Uint16Array | Uint8Array;

/**
 * Puts batches of threads that ran at the same time in the order of their starts; what starts at the same ns stays in the order of its thread.
 * @param details texts by row of each batch
 */
export function mergeByStart(
  batches: readonly ExecutedBatch[],
  details: readonly ReadonlyMap<number, string>[],
): { readonly rows: MergedBatch; readonly details: ReadonlyMap<number, string> } {
  const [only] = batches;
  if (only && batches.length === 1) return { rows: only, details: details[0] ?? new Map<number, string>() };

  const count = batches.reduce((sum, batch) => sum + batch.rows, 0);
  const fromBatch = new Uint16Array(count);
  const fromRow = new Uint32Array(count);
  const next = batches.map(() => 0);
  for (let at = 0; at < count; at++) {
    let first = -1;
    let firstNs = 0n;
    for (const [index, batch] of batches.entries()) {
      const row = next[index] ?? 0;
      if (row >= batch.rows) continue;
      const startNs = batch.columns.ts_ns[row] ?? 0n;
      if (first >= 0 && startNs >= firstNs) continue;
      first = index;
      firstNs = startNs;
    }
    fromBatch[at] = first;
    fromRow[at] = next[first] ?? 0;
    next[first] = (next[first] ?? 0) + 1;
  }

  const gather = <T extends Column>(
    make: new (length: number) => T,
    of: (batch: ExecutedBatch) => T | undefined,
  ): T => {
    const sources = batches.map(of);
    const merged = new make(count);
    for (let at = 0; at < count; at++) merged[at] = sources[fromBatch[at] ?? 0]?.[fromRow[at] ?? 0] ?? merged[at] ?? 0;
    return merged;
  };
  const names = new Set(batches.flatMap((batch) => Object.keys(batch.columns))) as Set<keyof ExecutedBatch['columns']>;
  const columns: Record<string, Column> = {};
  const validity: Record<string, Uint8Array> = {};
  for (const name of names) {
    const sample = batches.map((batch) => batch.columns[name]).find((column) => column !== undefined);
    if (!sample) continue;
    const make = sample.constructor as new (length: number) => Column;
    columns[name] = gather(make, (batch) => batch.columns[name] as Column | undefined);
    const bits = mergeValidity(name);
    if (bits) validity[name] = bits;
  }
  columns['tid'] = Uint32Array.from(fromBatch, (index) => batches[index]?.tid ?? 0);

  const merged = new Map<number, string>();
  for (let at = 0; at < count; at++) {
    const text = details[fromBatch[at] ?? 0]?.get(fromRow[at] ?? 0);
    if (text !== undefined) merged.set(at, text);
  }
  return {
    rows: {
      rows: count,
      op: gather(Uint8Array, (batch) => batch.op),
      errno: gather(Uint16Array, (batch) => batch.errno),
      columns: columns as unknown as MergedBatch['columns'],
      validity,
      tid: only?.tid ?? 0,
      failures: batches.reduce((sum, batch) => sum + batch.failures, 0),
      stopped: batches.some((batch) => batch.stopped),
    },
    details: merged,
  };

  function mergeValidity(name: keyof ExecutedBatch['columns']): Uint8Array | undefined {
    if (batches.every((batch) => batch.validity[name] === undefined && batch.columns[name] !== undefined))
      return undefined;
    const bits = new Uint8Array(bitmapBytes(count));
    for (let at = 0; at < count; at++) {
      const batch = batches[fromBatch[at] ?? 0];
      const row = fromRow[at] ?? 0;
      const bitmap = batch?.validity[name];
      const valid =
        batch?.columns[name] !== undefined && (bitmap === undefined || ((bitmap[row >> 3] ?? 0) >> (row & 7)) & 1);
      if (valid) bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
    }
    return bits;
  }
}
