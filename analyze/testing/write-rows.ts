import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import { COLUMNS } from '../../capture/trace/schema.ts';
import { METADATA } from '../../capture/trace/testing/sample.ts';
import { TraceWriter } from '../../capture/trace/writer.ts';
import { opCode } from '../../native/index.ts';
import type { InlineRow } from './inline-rows.ts';

const ARRAYS = { uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, int64: BigInt64Array } as const;

/** Writes rows to an Arrow trace; their `seq` is the writer's. */
export async function writeRows(
  path: string,
  rows: readonly InlineRow[],
  metadata: TraceMetadata = METADATA,
): Promise<void> {
  const writer = TraceWriter.create(path, metadata);
  const columns: Record<string, unknown> = {};
  const validity: Record<string, Uint8Array> = {};
  for (const { name, type } of COLUMNS) {
    if (name === 'seq' || name === 'errno' || name === 'lag_ns' || type === 'utf8' || !(type in ARRAYS)) continue;
    const array = new ARRAYS[type as keyof typeof ARRAYS](rows.length);
    const bits = new Uint8Array(Math.ceil(rows.length / 8));
    rows.forEach((row, i) => {
      const value = row[name as keyof InlineRow];
      if (value === undefined) return;
      bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
      array[i] = type === 'uint64' || type === 'int64' ? BigInt(value) : Number(value);
    });
    columns[name] = array;
    validity[name] = bits;
  }
  writer.append({
    rows: rows.length,
    op: Uint8Array.from(rows, ({ op }) => opCode(op)),
    errno: Uint16Array.from(rows, ({ errno }) => Number(errno ?? 0)),
    columns,
    validity,
    detail: new Map(rows.flatMap(({ detail }, i) => (detail === undefined ? [] : [[i, detail]]))),
  });
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
}
