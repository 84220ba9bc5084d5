import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CvmtraceError,
  type ExecutedBatch,
  type GuestPlan,
  loadNative,
  type Native,
  type NativeSession,
  OP_STRIDE,
} from '../native/index.ts';
import type { Backend } from './backends/backend.ts';
import type { Plan } from './plan.ts';
import { runWorkload } from './run-workload.ts';
import { TraceFile } from './trace/reader.ts';
import { readRows } from './trace/rows.ts';
import { testFolder } from './trace/testing/sample.ts';
import { findWorkload } from './workloads/registry.ts';

const folder = testFolder();
const MIB = 2 ** 20;

/** A backend whose VM is made by no call, with a guest of that many vCPUs. */
function backendWith(vcpus: number): Backend {
  return {
    name: 'fake',
    summary: '',
    standIn: false,
    vmType: 'default',
    guest: { vcpus, programGpa: () => 2 ** 30 },
    dma: null,
    abilities: {
      attributes: true,
      inPlace: false,
      preFault: false,
      privateTouch: true,
      privateKind: 'gmem',
      sharedFile: true,
    },
    leftOut: [],
    setUp: (batch) => void batch.push('kvm_create_vm', { obj: 1, attrs: 0 }),
  };
}

/** Answers nothing: requests as they are. */
const asTheyAre: Plan = {
  setUp: () => undefined,
  apply(request, batch) {
    if (request.kind === 'mark') batch.push('mark', { vcpu: request.vcpu }, request.name);
    else if (request.kind === 'touch')
      batch.push('guest_touch', { gpa: request.gpa, len: request.len, vcpu: request.vcpu });
    else if (request.trigger !== 'vmm')
      batch.push(request.trigger, { gpa: request.gpa, len: request.len, vcpu: request.vcpu });
  },
};

let nowNs = 0n;

/** What the executor would return: each operation takes 1 us of one clock. */
function executed(words: Float64Array, tid: number, rows = words.length / OP_STRIDE): ExecutedBatch {
  const word = (row: number, at: number): number => words[row * OP_STRIDE + at] ?? 0;
  const of = <T>(value: (row: number) => T): T[] => Array.from({ length: rows }, (_, row) => value(row));
  const big = (at: number) => BigUint64Array.from(of((row) => BigInt(word(row, at) || 0)));
  return {
    rows,
    op: Uint8Array.from(of((row) => word(row, 0))),
    errno: new Uint16Array(rows),
    columns: {
      ts_ns: BigUint64Array.from(of(() => (nowNs += 1000n))),
      dur_ns: new BigUint64Array(rows).fill(1000n),
      vcpu: Uint16Array.from(of((row) => word(row, 9))),
      obj: new Uint32Array(rows),
      gpa: big(2),
      hva: new BigUint64Array(rows),
      iova: new BigUint64Array(rows),
      offset: big(3),
      len: big(4),
      attrs: new BigUint64Array(rows),
      flags: new BigUint64Array(rows),
      result: new BigInt64Array(rows),
    },
    validity: {},
    tid,
    failures: 0,
    stopped: rows * OP_STRIDE < words.length,
  };
}

interface FakeHost {
  readonly native: Native;
  /** What each call of runGuest was given. */
  readonly runs: GuestPlan[];
}

function hostWith(
  runGuest: (plan: GuestPlan) => ExecutedBatch[] = ({ vcpus }) =>
    vcpus.map(({ obj, words }) => executed(words, 1000 + obj)),
): FakeHost {
  const runs: GuestPlan[] = [];
  const session: Partial<NativeSession> = {
    clockBaseNs: 0n,
    execute: (words) => Promise.resolve(executed(words, 999)),
    runGuest: (plan) => {
      runs.push(plan);
      return Promise.resolve().then(() => runGuest(plan));
    },
    cancel: () => undefined,
    close: () => Promise.resolve(),
  };
  return { native: { ...loadNative(), createSession: () => session as NativeSession }, runs };
}

let traces = 0;

async function run(
  host: FakeHost,
  { name = 'swiotlb', memoryBytes = 512 * MIB, vcpus = 2, signal = new AbortController().signal } = {},
) {
  const out = join(folder, `${traces++}.arrow`);
  const backend = backendWith(vcpus);
  const settings = { memoryBytes, seed: 1, parameters: {} };
  const workload = findWorkload(name);
  const strategy = { name: 'as they are', axes: {} };
  const files = { out, force: false, command: ['test'], signal };
  const running = runWorkload({
    ...{ native: host.native, backend, workload, settings, strategy, pacing: {}, plan: () => asTheyAre },
    ...files,
  });
  return { out, summary: await running };
}

/** Rows of a trace but for those of its set-up and its end. */
function rowsOf(out: string) {
  const file = TraceFile.open(out);
  const rows = [...readRows(file)].filter(({ op, detail }) => op !== 'kvm_create_vm' && detail !== 'trace_end');
  file.close();
  return rows;
}

describe('with a guest', () => {
  it('each vCPU does the workload in its part of memory, and all rows are in one trace, in order of time', async () => {
    const host = hostWith();
    const { out, summary } = await run(host);
    const rows = rowsOf(out);
    expect(rows).toHaveLength(summary.rows - 1);
    expect(summary).toMatchObject({ failures: 0, interrupted: false });
    for (const vcpu of [0, 1]) {
      const own = rows.filter((row) => row.vcpu === vcpu);
      const ends = own
        .filter(({ op }) => op !== 'mark')
        .map(({ gpa, len }) => [Number(gpa), Number(gpa) + Number(len)]);
      expect(Math.min(...ends.map(([start = NaN]) => start))).toBeGreaterThanOrEqual(vcpu * 256 * MIB);
      expect(Math.max(...ends.map(([, end = NaN]) => end))).toBeLessThanOrEqual((vcpu + 1) * 256 * MIB);
      expect(new Set(own.map(({ tid }) => tid))).toEqual(new Set([1016 + vcpu]));
    }
    expect(new Set(rows.filter(({ op }) => op === 'mark').map(({ vcpu, detail }) => `${vcpu} ${detail}`)).size).toBe(
      rows.filter(({ op }) => op === 'mark').length,
    );
    expect(rows.every(({ op, vcpu }) => op !== 'mark' || vcpu === 0)).toBe(true);
    const starts = rows.map(({ ts_ns }) => Number(ts_ns));
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
  });

  it('vCPUs go on in turns until the last is done, each with seeds of its own', async () => {
    const host = hostWith();
    const { summary } = await run(host, { name: 'ovmf-flip', memoryBytes: 256 * MIB });
    expect(host.runs.length).toBeGreaterThan(1);
    const first = host.runs[0]?.vcpus ?? [];
    expect(first.map(({ obj }) => obj)).toEqual([16, 17]);
    expect(first[0]?.words.subarray(0, 50 * OP_STRIDE)).not.toEqual(first[1]?.words.subarray(0, 50 * OP_STRIDE));
    expect(host.runs[0]).toMatchObject({ vm: 1, memory: { obj: 4, gpa: 2 ** 30 } });
    const operations = host.runs.flatMap(({ vcpus }) => vcpus.map(({ words }) => words.length / OP_STRIDE));
    expect(summary.requests).toBe(operations.reduce((sum, count) => sum + count, 0));
  });

  it('one vCPU is the workload as it is', async () => {
    const host = hostWith();
    const { out } = await run(host, { vcpus: 1 });
    const requests = [...findWorkload('swiotlb').generate({ memoryBytes: 512 * MIB, seed: 1 })];
    expect(rowsOf(out).map(({ op }) => op)).toEqual(
      requests.map((request) =>
        request.kind === 'convert' ? request.trigger : request.kind === 'mark' ? 'mark' : 'guest_touch',
      ),
    );
  });

  it('keeps what had run when the guest breaks down, and says why', async () => {
    const host = hostWith(({ vcpus }) => {
      const batches = vcpus.map(({ obj, words }) => executed(words, obj, 3));
      throw Object.assign(new Error('exit 8 was not planned'), { code: 'ERR_GUEST', batches });
    });
    const error: unknown = await run(host).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(CvmtraceError);
    expect(error).toMatchObject({ code: 'CRASHED', message: 'the guest broke down: exit 8 was not planned' });
    const partial = TraceFile.open(join(folder, `${traces - 1}.arrow.partial`), { allowPartial: true });
    expect([...readRows(partial)].map(({ op }) => op)).toHaveLength(1 + 2 * 3);
    partial.close();
  });

  it('an interrupt ends it after what runs, with a whole trace', async () => {
    const abort = new AbortController();
    const host = hostWith(({ vcpus }) => {
      abort.abort();
      return vcpus.map(({ obj, words }) => executed(words, obj, 2));
    });
    const { out, summary } = await run(host, { name: 'ovmf-flip', signal: abort.signal });
    expect(summary).toMatchObject({ interrupted: true, requests: 0 });
    expect(host.runs).toHaveLength(1);
    const file = TraceFile.open(out);
    expect([...readRows(file)].at(-1)).toMatchObject({ detail: 'trace_end', result: 130n });
    file.close();
  });
});

describe('memory', () => {
  it('that is too little for so many vCPUs is refused with what would do', async () => {
    const host = hostWith();
    await expect(run(host, { name: 'boot', memoryBytes: 256 * MIB })).rejects.toMatchObject({
      code: 'USAGE',
      message:
        'workload boot with these parameters needs 194M of guest memory for each vCPU, and 256M for 2 vCPUs is 128M',
      hint: 'give it at least --memory 388M, fewer --vcpus or smaller parameters',
    });
    await expect(run(host, { name: 'boot', memoryBytes: 388 * MIB })).resolves.toBeDefined();
    await expect(run(host, { name: 'boot', memoryBytes: 128 * MIB, vcpus: 1 })).rejects.toMatchObject({
      hint: expect.stringContaining('give it at least --memory 194M') as string,
    });
  });
});
