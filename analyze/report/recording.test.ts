import { join } from 'node:path';
import { expect, test } from 'vitest';
import { METADATA, testFolder } from '../../capture/trace/testing/sample.ts';
import { TraceWriter } from '../../capture/trace/writer.ts';
import { opCode, type OpName } from '../../native/index.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { analyzeTrace } from './report.ts';

const folder = testFolder();
const GIB = 1n << 30n;

interface Row {
  readonly op: OpName;
  readonly obj: number;
  /** Of a slot; a discard of a recording has none. */
  readonly gpa?: bigint;
  readonly len: bigint;
  readonly attrs: bigint;
}

const SLOT = 'kvm_set_user_memory_region2';

/** Two VMs, of which the first moves a slot and the second has two at a time. */
const ROWS: readonly Row[] = [
  { op: 'kvm_create_vm', obj: 1, len: 0n, attrs: 5n },
  { op: 'kvm_create_vm', obj: 2, len: 0n, attrs: 9n },
  { op: SLOT, obj: 1, gpa: 0n, len: GIB, attrs: 0n },
  { op: SLOT, obj: 1, gpa: 0n, len: 0n, attrs: 0n },
  { op: SLOT, obj: 1, gpa: GIB, len: GIB, attrs: 0n },
  { op: SLOT, obj: 2, gpa: 0n, len: GIB, attrs: 0n },
  // Slot 1 of guest_memfd 7.
  { op: SLOT, obj: 2, gpa: GIB, len: GIB, attrs: (7n << 32n) + 1n },
  { op: 'gmem_punch_hole', obj: 7, len: 4096n, attrs: 0n },
];

async function recordingOf(name: string, rows: readonly Row[]): Promise<string> {
  const path = join(folder, name);
  const writer = TraceWriter.create(path, { ...METADATA, source: 'record' });
  const validity = new Uint8Array(Math.ceil(rows.length / 8));
  rows.forEach(({ gpa }, row) => {
    if (gpa !== undefined) validity[row >> 3] = (validity[row >> 3] ?? 0) | (1 << (row & 7));
  });
  writer.append({
    rows: rows.length,
    op: Uint8Array.from(rows, ({ op }) => opCode(op)),
    columns: {
      ts_ns: BigUint64Array.from(rows, (_, row) => BigInt(row) * 100n),
      obj: Uint32Array.from(rows, ({ obj }) => obj),
      gpa: BigUint64Array.from(rows, ({ gpa }) => gpa ?? 0n),
      len: BigUint64Array.from(rows, ({ len }) => len),
      attrs: BigUint64Array.from(rows, ({ attrs }) => attrs),
    },
    validity: { gpa: validity },
  });
  await writer.finish({ exitStatus: 0, lostEvents: 0, tsNs: BigInt(rows.length) * 100n });
  return path;
}

test("a recording's guests are known from its rows, and it is one phase without marks", async () => {
  await using analysis = await openAnalysis([await recordingOf('guests.arrow', ROWS)]);
  const { guests, phases } = await analyzeTrace(analysis);
  expect(guests).toEqual([
    { vm: 1, vmType: 'tdx', vcpus: null, slotBytes: 2 ** 30 },
    { vm: 2, vmType: 'type 9', vcpus: null, slotBytes: 2 ** 31 },
  ]);
  expect(phases).toMatchObject([{ name: null, startNs: 0n, durNs: 800n, conversions: 0n }]);
});

test('what was held is not summed up where a call does not say which memory of the guest it was on', async () => {
  await using with_ = await openAnalysis([await recordingOf('unplaced.arrow', ROWS)]);
  expect((await analyzeTrace(with_)).memory).toMatchObject({
    heldLeftOut: '1 call on memory by a place in a file or in the VMM that no slot has',
    points: [],
  });
  await using without = await openAnalysis([await recordingOf('placed.arrow', ROWS.slice(0, -1))]);
  expect((await analyzeTrace(without)).memory?.heldLeftOut).toBeNull();
});
