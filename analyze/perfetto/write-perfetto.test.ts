import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClockInfo } from '../../capture/trace/metadata.ts';
import { METADATA } from '../../capture/trace/testing/sample.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import type { Analysis } from '../db/analysis.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { inlineSql, type InlineRow } from '../testing/inline-rows.ts';
import { decodePerfetto, type Packet } from './testing/decode.ts';
import { linesOf, timelineOf, type ShownEvent } from './testing/timeline.ts';
import { writePerfetto, type PerfettoSummary } from './write-perfetto.ts';

let analysis: Analysis;
beforeAll(async () => {
  analysis = await openAnalysis([], { threads: 1 });
});
afterAll(() => analysis.close());

const NO_CLOCK: ClockInfo = { name: 'unknown', baseNs: null, wallOffsetNs: null };

interface Written {
  readonly packets: readonly Packet[];
  readonly summary: PerfettoSummary;
  readonly pieces: readonly Uint8Array[];
}

async function written(from: Analysis, metadata = { ...METADATA, clock: NO_CLOCK }): Promise<Written> {
  const pieces: Uint8Array[] = [];
  const summary = await writePerfetto(from, metadata, (piece) => {
    pieces.push(piece);
    return Promise.resolve();
  });
  return { packets: decodePerfetto(Buffer.concat(pieces)), summary, pieces };
}

async function writtenRows(rows: readonly InlineRow[], clock = NO_CLOCK): Promise<Written> {
  await analysis.query(`create or replace view _trace_rows as ${inlineSql(rows)}`);
  return written(analysis, { ...METADATA, clock });
}

const VCPU = { pid: 10, tid: 12, vcpu: 0 } as const;

test('a vCPU has its exits with the calls made for them inside; other calls are on the threads that made them', async () => {
  const { packets, summary } = await writtenRows([
    { op: 'mark', ts_ns: 0, detail: 'firmware' },
    { op: 'kvm_create_vm', ts_ns: 10, dur_ns: 20, pid: 10, tid: 11, obj: 1 },
    { op: 'exit_map_gpa_range', ts_ns: 100, dur_ns: 100, ...VCPU, gpa: 0, len: 4096, attrs: 16 },
    { op: 'kvm_set_memory_attributes', ts_ns: 110, dur_ns: 20, pid: 10, tid: 12, gpa: 0, len: 4096, attrs: 8 },
    { op: 'ram_punch_hole', ts_ns: 130, dur_ns: 70, pid: 10, tid: 12, gpa: 0, len: 4096 },
    { op: 'iommu_unmap', ts_ns: 150, pid: 10, tid: 12 },
    { op: 'vfio_unmap_dma', ts_ns: 150, dur_ns: 5, pid: 10, tid: 11 },
    { op: 'vfio_unmap_dma', ts_ns: 190, dur_ns: 60, pid: 10, tid: 12 },
    { op: 'mark', ts_ns: 250, detail: 'kernel' },
    { op: 'guest_touch', ts_ns: 300, dur_ns: 100, pid: 10, tid: 12, vcpu: 1 },
    { op: 'exit_memory_fault', ts_ns: 320, dur_ns: 30, pid: 10, tid: 13, vcpu: 1 },
    { op: 'kvm_run', ts_ns: 330, dur_ns: 5_000_000, ...VCPU, result: 9 },
    { op: 'lost', ts_ns: 350, pid: 10, tid: 13, len: 7 },
    { op: 'ram_touch', ts_ns: 351, dur_ns: 9, pid: 10, tid: 13 },
    { op: 'ram_touch', pid: 10, tid: 13, dur_ns: 9 },
    { op: 'mark', ts_ns: 400, detail: 'trace_end' },
  ]);
  expect(linesOf(timelineOf(packets))).toEqual([
    'phases: firmware 0+250',
    'VMM thread 10/11: kvm_create_vm 10+20',
    'guest 10 > vCPU 0: exit_map_gpa_range 100+100',
    'guest 10 > vCPU 0:   kvm_set_memory_attributes 110+20',
    'guest 10 > vCPU 0:   ram_punch_hole 130+70',
    'guest 10 > vCPU 0:     iommu_unmap at 150',
    'VMM thread 10/11: vfio_unmap_dma 150+5',
    'guest 10 > vCPU 0: vfio_unmap_dma 190+60',
    'phases: kernel 250+150',
    'guest 10 > vCPU 1: guest_touch 300+100',
    'guest 10 > vCPU 1:   exit_memory_fault 320+30',
    'guest 10 > vCPU 0: kvm_run at 330',
    'lost events: lost at 350',
    'VMM thread 10/13: ram_touch 351+9',
  ]);
  expect(summary).toEqual({
    slices: 9,
    instants: 3,
    phases: 2,
    counterValues: expect.any(Number) as number,
    rowsWithoutTime: 1,
  });
  const vcpus = packets.flatMap(({ trackDescriptor: track }) => (track?.name?.startsWith('vCPU') ? [track] : []));
  expect(vcpus.map(({ name, siblingOrderRank }) => [name, siblingOrderRank])).toEqual([
    ['vCPU 0', 0],
    // The call that outlasted its exit.
    ['vCPU 0', 0],
    ['vCPU 1', 1],
  ]);
});

test('exits of no length have their calls, and no others', async () => {
  const { packets } = await writtenRows([
    { op: 'exit_map_gpa_range', ts_ns: 5, dur_ns: 0, ...VCPU },
    { op: 'ram_punch_hole', ts_ns: 5, dur_ns: 0, ...VCPU },
    { op: 'gmem_allocate', ts_ns: 5, dur_ns: 0, ...VCPU },
    { op: 'exit_map_gpa_range', ts_ns: 5, dur_ns: 0, ...VCPU },
    { op: 'gmem_punch_hole', ts_ns: 5, dur_ns: 1, ...VCPU },
  ]);
  expect(linesOf(timelineOf(packets))).toEqual([
    'guest 10 > vCPU 0: exit_map_gpa_range 5+0',
    'guest 10 > vCPU 0:   ram_punch_hole 5+0',
    'guest 10 > vCPU 0:   gmem_allocate 5+0',
    'guest 10 > vCPU 0: exit_map_gpa_range 5+0',
    'VMM thread 10/12: gmem_punch_hole 5+1',
  ]);
});

test('rows without process and thread have tracks; what overlaps on a thread is beside it', async () => {
  const { packets } = await writtenRows([
    { op: 'ram_touch', ts_ns: 1, dur_ns: 4 },
    { op: 'ram_touch', ts_ns: 2, dur_ns: 4, tid: 3 },
    { op: 'ram_touch', ts_ns: 3, dur_ns: 4 },
    { op: 'exit_map_gpa_range', ts_ns: 4, dur_ns: 4, vcpu: 7 },
    { op: 'exit_map_gpa_range', ts_ns: 5, dur_ns: 4 },
    { op: 'vfio_map_dma', ts_ns: 6, dur_ns: 4, pid: 4, tid: 4 },
    { op: 'vfio_map_dma', ts_ns: 7, dur_ns: 4, pid: 4, tid: 4 },
  ]);
  expect(linesOf(timelineOf(packets))).toEqual([
    'guest > VMM, thread unknown: ram_touch 1+4',
    'guest > VMM thread 3: ram_touch 2+4',
    'guest > VMM, thread unknown > overlapping calls: ram_touch 3+4',
    'guest > vCPU 7: exit_map_gpa_range 4+4',
    'guest > VMM, thread unknown: exit_map_gpa_range 5+4',
    'VMM thread 4/4: vfio_map_dma 6+4',
    'VMM thread 4/4 > overlapping calls: vfio_map_dma 7+4',
  ]);
  const processes = packets.flatMap(({ trackDescriptor }) => trackDescriptor?.process ?? []);
  expect(processes).toEqual([{ pid: 4, processName: 'guest' }]);
});

test('arguments are whole: 64 bits, signs, names of errors, any text', async () => {
  const detail = 'text "é" '.repeat(40);
  const { packets } = await writtenRows([
    {
      op: 'vfio_unmap_dma',
      ts_ns: 1,
      dur_ns: 1,
      pid: 4_294_967_295,
      tid: 4_294_967_295,
      obj: 3,
      iova: 2n ** 64n - 1n,
      hva: 2n ** 63n,
      len: 2n ** 53n + 1n,
      flags: 2,
      result: -22,
      errno: 22,
      detail,
    },
    { op: 'ram_madvise', ts_ns: 3, dur_ns: 1, errno: 4_000, gpa: 0, result: 0, lag_ns: 5 },
    { op: 'exit_other', ts_ns: 5, dur_ns: 77, vcpu: 0, attrs: 2, result: 6 },
  ]);
  expect(timelineOf(packets).events.map(({ args }) => args)).toEqual([
    {
      seq: '0',
      tid: '4294967295',
      obj: '3',
      hva: '9223372036854775808',
      iova: '18446744073709551615',
      len: '9007199254740993',
      flags: '2',
      result: '-22',
      errno: 'EINVAL',
      detail,
    },
    { seq: '1', gpa: '0', result: '0', errno: '4000', lag_ns: '5' },
    { seq: '2', attrs: '2', result: '6', sum_ns: '77' },
  ]);
});

describe('the clock', () => {
  const rows: readonly InlineRow[] = [{ op: 'ram_touch', ts_ns: 2 ** 32 + 5, dur_ns: 1 }];

  test.each([
    ['CLOCK_MONOTONIC', 3, 'BUILTIN_CLOCK_MONOTONIC', '4294967295', '1750000000000000000'],
    ['CLOCK_BOOTTIME', 6, 'BUILTIN_CLOCK_BOOTTIME', '0', null],
    ['CLOCK_REALTIME', 1, 'BUILTIN_CLOCK_REALTIME', '1750000000123456789', '0'],
  ])('%s is the clock of the packets', async (name, id, builtin, baseNs, wallOffsetNs) => {
    const { packets } = await writtenRows(rows, { name, baseNs, wallOffsetNs });
    const clocks = [{ clockId: id, timestamp: baseNs }];
    if (id === 3) clocks.push({ clockId: 1, timestamp: String(BigInt(baseNs) + 1_750_000_000_000_000_000n) });
    expect(packets[0]?.clockSnapshot).toEqual({ clocks, primaryTraceClock: builtin });
    expect(timelineOf(packets).events[0]?.ts).toBe(BigInt(baseNs) + 2n ** 32n + 5n);
    const started = packets.filter(({ sequenceFlags }) => sequenceFlags === 3);
    expect(started.length).toBeGreaterThan(0);
    for (const packet of started) expect(packet.tracePacketDefaults).toEqual({ timestampClockId: id });
  });

  test.each([
    ['x86-tsc', '7'],
    ['CLOCK_MONOTONIC', null],
    ['CLOCK_MONOTONIC', '18446744073709551615'],
  ])('%s with base %s: times since the beginning', async (name, baseNs) => {
    const { packets } = await writtenRows(rows, { name, baseNs, wallOffsetNs: null });
    expect(packets.filter(({ clockSnapshot, tracePacketDefaults }) => clockSnapshot ?? tracePacketDefaults)).toEqual(
      [],
    );
    expect(timelineOf(packets).events[0]?.ts).toBe(2n ** 32n + 5n);
  });
});

test('memory is counters of what changes, shown by their unit', async () => {
  await using memory = await openAnalysis([], { threads: 1 });
  await memory.query(`create or replace view memory_over_time as
    select 0::uinteger as trace, seq::ubigint as seq, ts_ns::ubigint as ts_ns, private_bytes::ubigint as private_bytes, shared_bytes::ubigint as shared_bytes,
      0::ubigint as doubly_held_bytes, dma::ubigint as dma_mapped_bytes, live::ubigint as live_mappings
    from (values (1, 10, 4096, 0, 0, 0), (2, 20, 4096, 8192, 8192, 2), (3, null, 0, 0, 0, 0), (4, 30, 0, 8192, 8192, 2))
      as v(seq, ts_ns, private_bytes, shared_bytes, dma, live)`);
  const { packets, summary } = await written(memory);
  expect([...timelineOf(packets).counters]).toEqual([
    [
      'guest memory > private',
      [
        [10n, 4096n],
        [30n, 0n],
      ],
    ],
    ['guest memory > shared', [[20n, 8192n]]],
    ['guest memory > DMA-mapped', [[20n, 8192n]]],
    ['guest memory > live mappings', [[20n, 2n]]],
  ]);
  expect(summary).toMatchObject({ counterValues: 5 });
  const units = packets.flatMap(({ trackDescriptor }) => trackDescriptor?.counter?.unit ?? []);
  expect(units).toEqual(['UNIT_SIZE_BYTES', 'UNIT_SIZE_BYTES', 'UNIT_SIZE_BYTES', 'UNIT_COUNT']);
});

test('a trace of nothing is a trace', async () => {
  const { packets, summary } = await writtenRows([]);
  expect(packets).toEqual([]);
  expect(summary).toEqual({ slices: 0, instants: 0, phases: 0, counterValues: 0, rowsWithoutTime: 0 });
});

test('more at once than a track has room for are instants; what is written comes in pieces', async () => {
  const call = { op: 'ram_touch', dur_ns: 10_000, pid: 1, tid: 1, detail: 'x'.repeat(100) } as const;
  const { packets, summary, pieces } = await writtenRows(
    Array.from({ length: 6_000 }, (_, i) => ({ ...call, ts_ns: i })),
  );
  expect(summary).toMatchObject({ slices: 64, instants: 5_936 });
  expect(timelineOf(packets).events.length).toBe(6_000);
  expect(pieces.length).toBeGreaterThan(1);
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(1024 * 1024);
});

test.each(['boot-guest-memfd', 'record-private-mem-conversions'])(
  'calls of %s are inside the exits that conversions.sql finds',
  async (name) => {
    await using dataset = await openAnalysis([join(PACKAGE_ROOT, 'datasets', `${name}.parquet`)], { threads: 2 });
    const [trace] = dataset.traces;
    const { packets, summary } = await written(dataset, trace?.metadata);
    const { rows } = await dataset.query(
      'select seq::varchar, exit_seq::varchar from _conversion_rows where not is_exit and exit_seq is not null and ts_ns is not null',
    );
    const { events } = timelineOf(packets);
    const byOp = new Set((await dataset.query('select distinct op::varchar from _thread_calls')).rows.flat());
    const isExit = ({ name: op }: ShownEvent): boolean => op === 'exit_map_gpa_range' || op === 'exit_memory_fault';
    const shown = events.flatMap((event) => {
      let around = event.parent;
      while (around && !isExit(around)) around = around.parent;
      return around && byOp.has(event.name) && !isExit(event) ? [[event.args.seq, around.args.seq]] : [];
    });
    expect(rows.length).toBeGreaterThan(10);
    expect(new Map(shown as [string, string][])).toEqual(new Map(rows as [string, string][]));
    const [count] = await dataset.query("select count(*)::double from events where op <> 'mark'").then((r) => r.rows);
    expect(summary.slices + summary.instants).toBe(count?.[0]);
  },
);
