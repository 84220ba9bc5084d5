import { OPS } from '../../../native/index.ts';
import type { TraceBatch } from '../../trace/batch.ts';
import { isValid } from '../../trace/bitmap.ts';
import type { ImportFormat, ImportOptions } from '../format.ts';
import { LineSplitter } from '../lines.ts';
import { RowSink } from '../row-sink.ts';
import { Troubles, type TroubleKind } from '../troubles.ts';

export interface Imported {
  /**
   * A line per row: "kvm_convert_memory time=1.000000000 gpa=0x1000 len=0x1000 attrs=0x8"; what is null is left out. Times are those of the source's
   * clock: what ts_ns counts from depends on rows that may come later.
   */
  readonly rows: readonly string[];
  readonly troubles: readonly TroubleKind[];
  readonly clock: string;
  readonly baseNs: bigint | null;
}

/** More than a fixture has, and soon allocated. */
const BATCH_ROWS = 1024;

export interface ImportBytesOptions extends ImportOptions {
  /** Bytes per chunk; default: all at once. */
  readonly chunkBytes?: number;
}

/** Imports bytes with a format, as `import` does with a file's, into text. */
export function importBytes(
  format: ImportFormat,
  input: Uint8Array | string,
  { chunkBytes = Infinity, ...options }: ImportBytesOptions = {},
): Imported {
  const bytes = typeof input === 'string' ? Buffer.from(input) : input;
  const rows: string[] = [];
  const troubles = new Troubles();
  const sink: RowSink = new RowSink({
    consume: (batch) => void rows.push(...rowTexts(batch, sink.baseNs ?? 0n)),
    troubles,
    batchRows: BATCH_ROWS,
  });
  const context = { sink, troubles, options };
  const parser = format.kind === 'lines' ? new LineSplitter(format.open(context), troubles) : format.open(context);
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    // A copy that is overwritten afterwards: who keeps a view of a chunk is found out.
    const chunk = Uint8Array.from(bytes.subarray(at, Math.min(bytes.length, at + chunkBytes)));
    parser.chunk(chunk);
    chunk.fill(0xa5);
  }
  parser.end();
  sink.finish();
  return { rows, troubles: troubles.kinds(), clock: sink.clock, baseNs: sink.baseNs };
}

/** What a golden file holds of an import. */
export function importText({ rows, troubles, clock, baseNs }: Imported): string {
  const head = [`clock ${clock}, base ${baseNs ?? 'null'}`];
  const tail = troubles.map(
    ({ kind, skipped, count, lines }) =>
      `${skipped ? 'skipped' : 'trouble'}: ${kind}: ${count}, first lines ${lines.join(', ')}`,
  );
  return [...head, ...rows, ...tail].map((line) => `${line}\n`).join('');
}

const DECIMAL = new Set(['dur_ns', 'pid', 'tid', 'vcpu', 'obj', 'result']);

function rowTexts(batch: TraceBatch, baseNs: bigint): string[] {
  return Array.from({ length: batch.rows }, (_, row) => {
    const parts = [OPS[batch.op[row] ?? 0] ?? '?'];
    for (const [name, data] of Object.entries(batch.columns)) {
      if (!isValid(batch.validity[name as keyof TraceBatch['validity']], row)) continue;
      const value = data[row] ?? 0;
      if (name === 'ts_ns') parts.push(`time=${seconds(baseNs + BigInt(value))}`);
      else parts.push(`${name}=${DECIMAL.has(name) ? String(value) : `0x${value.toString(16)}`}`);
    }
    const errno = batch.errno?.[row] ?? 0;
    if (errno !== 0) parts.push(`errno=${errno}`);
    const detail = batch.detail?.get(row);
    if (detail !== undefined) parts.push(`detail=${JSON.stringify(detail)}`);
    return parts.join(' ');
  });
}

function seconds(ns: bigint): string {
  const sign = ns < 0n ? '-' : '';
  const digits = String(ns < 0n ? -ns : ns).padStart(10, '0');
  return `${sign}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}
