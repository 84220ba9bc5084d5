/** What several tests of the trace format need. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Schema, type Field } from 'apache-arrow';
import { afterAll, expect } from 'vitest';
import { CvmtraceError, OPS, PACKAGE_ROOT, type ErrorCode } from '../../../native/index.ts';
import { encodeFooter, encodeSchema, FILE_START, fileEnd, type Block, type EncodedMessage } from '../encode.ts';
import type { TraceMetadata } from '../metadata.ts';
import type { TraceFile } from '../reader.ts';
import { readRows, type TraceRow } from '../rows.ts';
import { arrowSchema } from '../schema.ts';
import { batchAt, rowAt } from '../testdata/deterministic-rows.mjs';
import { TraceWriter, type WriterOptions } from '../writer.ts';

export const METADATA: TraceMetadata = {
  format: { major: 1, minor: 0 },
  tool: { name: 'cvmtrace', version: 'test' },
  source: 'run',
  command: ['cvmtrace', 'run'],
  clock: { name: 'CLOCK_MONOTONIC', baseNs: '123456789012345678', wallOffsetNs: '-5' },
  host: {
    kernel: { release: '6.18.0', version: '#1', config: { CONFIG_KVM: 'm', CONFIG_IOMMUFD: null } },
    cpu: { model: 'test', logical: 2 },
    memoryBytes: 2 ** 34,
    hypervisor: null,
    emulated: false,
    tee: null,
    iommu: null,
  },
  guest: {
    memoryBytes: 2 ** 32,
    vcpus: 2,
    vmType: 'default',
    requests: 'generated',
    slots: [{ gpa: 0, len: 2 ** 32, offset: 0 }],
  },
  leftOut: [{ step: 'attributes', errno: 'ENOTTY', reason: 'not there' }],
};

/** Output of `npm run build`, which `npm test` runs first: for tests that need another process. */
export const DIST = join(PACKAGE_ROOT, 'dist');

/** A folder of its own for a test file, removed after it. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-trace-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes rows 0 to `rows` of the deterministic ones and `trace_end`. */
export async function writeTrace(
  path: string,
  rows: number,
  perAppend = rows,
  options: WriterOptions = {},
): Promise<void> {
  const writer = TraceWriter.create(path, METADATA, options);
  for (let first = 0; first < rows; first += perAppend) {
    writer.append(batchAt(first, Math.min(perAppend, rows - first)));
    writer.flush();
  }
  await writer.finish({ exitStatus: 3, lostEvents: 5 });
}

/** Row `seq` as `readRows` gives it. */
export function expectedRow(seq: number): TraceRow {
  const row = rowAt(seq);
  return { ...row, op: OPS[row.op] ?? '' };
}

/** Checks that the first rows of a file are the deterministic ones, value by value, and returns how many rows it has. */
export function expectRows(file: TraceFile, count = file.rows): number {
  let seq = 0;
  for (const row of readRows(file, 0, count)) {
    const wanted = expectedRow(seq);
    // A comparison by expect for each of 10^5 rows would take minutes.
    for (const name in wanted) if (row[name] !== wanted[name]) expect(row).toEqual(wanted);
    seq++;
  }
  expect(seq).toBe(count);
  return file.rows;
}

/** Runs `action` and returns the CvmtraceError that it throws. */
export function thrownBy(action: () => unknown, code: ErrorCode): CvmtraceError {
  let thrown: unknown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(CvmtraceError);
  if (!(thrown instanceof CvmtraceError)) throw new Error('unreachable');
  expect({ code: thrown.code, message: thrown.message }).toMatchObject({ code });
  return thrown;
}

export interface CraftedFile {
  readonly schema?: Schema;
  readonly dictionaries?: readonly EncodedMessage[];
  readonly batches?: readonly EncodedMessage[];
  /** Changes the blocks that the footer lists. */
  readonly listed?: (batches: readonly Block[]) => readonly Block[];
}

/** Writes an Arrow file message by message, also such as no writer would. */
export function craftFile(
  path: string,
  { schema = traceSchema(), dictionaries = [], batches = [], listed = (b) => b }: CraftedFile,
): void {
  const chunks: Uint8Array[] = [FILE_START, encodeSchema(schema)];
  let offset = chunks.reduce((sum, { length }) => sum + length, 0);
  const place = ({ chunks: body, metadataLength, bodyLength }: EncodedMessage): Block => {
    const block = { offset, metadataLength, bodyLength };
    chunks.push(...body);
    offset += metadataLength + bodyLength;
    return block;
  };
  const placedDictionaries = dictionaries.map(place);
  const placedBatches = batches.map(place);
  chunks.push(fileEnd(encodeFooter(schema, placedDictionaries, listed(placedBatches))));
  writeFileSync(path, Buffer.concat(chunks));
}

/** The schema of a trace, after `change` has been at its fields. */
export function traceSchema(
  metadata: unknown = METADATA,
  change: (fields: Field[]) => Field[] = (fields) => fields,
): Schema {
  const schema = arrowSchema(JSON.stringify(metadata), false);
  return new Schema(change([...schema.fields]), schema.metadata);
}
