import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  CvmtraceError,
  loadNative,
  type Native,
  OpBatch,
  type OpName,
  PACKAGE_ROOT,
  RamFlag,
} from '../../native/index.ts';
import { type Interval, medianInterval } from '../stats/interval.ts';
import { type Metric, type Suite, withInterval } from './suite.ts';

const run = promisify(execFile);
const PAGE = 4096;
const RAM = 1;
const VM = 2;
const GMEM = 3;
/** As many as a run submits at a time. */
const BATCH_CALLS = 8192;

/** A kind of call: what the C program calls it, and the same as operations. */
interface Kind {
  readonly name: string;
  readonly op: OpName;
  readonly obj: number;
  readonly flags?: number;
  /** Each call works on the next page; else all on the first. */
  readonly walks: boolean;
  /** Calls a round: touching a page takes a hundred times as long as calling for it. */
  readonly calls: number;
  /** Objects and memory before the calls that are timed. */
  readonly setUp: (batch: OpBatch, bytes: number) => void;
}

/** GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, KVM_MEM_GUEST_MEMFD */
const MMAP_INIT_SHARED = 3;
const MEM_GUEST_MEMFD = 4;

function makeGmem(batch: OpBatch, bytes: number, flags: number): void {
  batch.push('kvm_create_vm', { obj: VM, attrs: 0 });
  batch.push('kvm_create_guest_memfd', { obj: GMEM, len: bytes, flags, peer: VM });
  batch.push('ram_create', { obj: RAM, len: bytes, flags: 0 });
  const slot = { gpa: 0, len: bytes, offset: 0, attrs: GMEM * 2 ** 32, flags: MEM_GUEST_MEMFD, peer: RAM };
  batch.push('kvm_set_user_memory_region2', { obj: VM, ...slot });
}

const KINDS: readonly Kind[] = [
  {
    name: 'madvise',
    op: 'ram_madvise',
    obj: RAM,
    flags: 0,
    walks: false,
    calls: 100_000,
    setUp: (batch) => batch.push('ram_create', { obj: RAM, len: PAGE, flags: 0 }),
  },
  {
    name: 'gmem-allocate4k',
    op: 'gmem_allocate',
    obj: GMEM,
    walks: true,
    calls: 100_000,
    setUp: (batch, bytes) => makeGmem(batch, bytes, 0),
  },
  {
    name: 'gmem-punch4k',
    op: 'gmem_punch_hole',
    obj: GMEM,
    walks: true,
    calls: 20_000,
    setUp: (batch, bytes) => {
      makeGmem(batch, bytes, MMAP_INIT_SHARED);
      batch.push('gmem_touch', { obj: GMEM, offset: 0, len: bytes, flags: 1 });
    },
  },
  {
    name: 'ram-punch4k',
    op: 'ram_punch_hole',
    obj: RAM,
    walks: true,
    calls: 20_000,
    setUp: (batch, bytes) => {
      batch.push('ram_create', { obj: RAM, len: bytes, flags: RamFlag.memfd });
      batch.push('ram_touch', { obj: RAM, offset: 0, len: bytes, flags: 1 });
    },
  },
];

export const executorSuite: Suite = {
  name: 'executor',
  summary: 'an executed and timed operation against the same loop written in C',
  async run({ quick, signal, onProgress }) {
    const native = loadNative();
    const program = await buildLoop();
    const rounds = quick ? 7 : 25;
    const kinds = KINDS.filter((kind) => kind.obj !== GMEM || hasMappableGuestMemfd(native));
    const times = new Map(kinds.map((kind) => [kind.name, { loop: [] as number[], executor: [] as number[] }]));
    for (let round = 0; round <= rounds; round++) {
      for (const kind of kinds) {
        signal.throwIfAborted();
        const calls = quick ? kind.calls / 5 : kind.calls;
        onProgress?.(`${kind.name}, round ${round} of ${rounds}`);
        const loop = await timeLoop(program, kind, calls);
        const executor = await timeExecutor(native, kind, calls);
        // Round 0 warms up.
        if (round === 0) continue;
        times.get(kind.name)?.loop.push(loop);
        times.get(kind.name)?.executor.push(executor);
      }
    }
    return {
      setup:
        `${rounds} rounds in turns, each side in a process or session of its own, batches of ${BATCH_CALLS} for the executor; the C loop reads the ` +
        'clock before the first and after the last call, the executor around each; punched pages were written through a mapping before',
      metrics: [...times].flatMap(([name, { loop, executor }]) => metricsOf(name, loop, executor)),
    };
  },
};

function metricsOf(name: string, loop: readonly number[], executor: readonly number[]): Metric[] {
  const beside = (combine: (executor: number, loop: number) => number): Interval =>
    medianInterval(executor.map((value, round) => combine(value, loop[round] ?? NaN)));
  return [
    { metric: `${name}: C loop`, ...withInterval(medianInterval(loop)), unit: 'ns/op', better: 'lower' },
    { metric: `${name}: executor`, ...withInterval(medianInterval(executor)), unit: 'ns/op', better: 'lower' },
    {
      metric: `${name}: executor - C loop`,
      ...withInterval(beside((value, base) => value - base)),
      unit: 'ns/op',
      better: 'lower',
      limit: { op: '<=', value: 60 },
    },
    {
      metric: `${name}: executor / C loop`,
      ...withInterval(beside((value, base) => value / base)),
      unit: 'x',
      better: 'lower',
      ...(name === 'gmem-punch4k' && { limit: { op: '<=', value: 1.05 } as const }),
    },
  ];
}

/** ns per call, in each batch from the start of the first to the end of the last: what is between calls is in it. */
async function timeExecutor(native: Native, kind: Kind, count: number): Promise<number> {
  const session = native.createSession();
  try {
    const setUp = new OpBatch();
    kind.setUp(setUp, count * PAGE);
    const made = await session.execute(setUp.words, { stopAtFailure: true });
    if (made.failures > 0)
      throw new CvmtraceError('UNAVAILABLE', `cannot set up ${kind.name}`, { hint: 'see cvmtrace probe' });
    let elapsedNs = 0n;
    for (let first = 0; first < count; first += BATCH_CALLS) {
      const { rows, failures, columns } = await session.execute(
        batchOf(kind, first, Math.min(BATCH_CALLS, count - first)).words,
      );
      if (failures > 0) throw new Error(`${failures} of ${rows} calls of ${kind.name} failed`);
      const last = (columns.ts_ns[rows - 1] ?? 0n) + (columns.dur_ns[rows - 1] ?? 0n);
      elapsedNs += last - (columns.ts_ns[0] ?? 0n);
    }
    return Number(elapsedNs) / count;
  } finally {
    await session.close();
  }
}

function batchOf(kind: Kind, first: number, calls: number): OpBatch {
  const batch = new OpBatch(calls);
  for (let i = first; i < first + calls; i++) {
    const operands = { obj: kind.obj, offset: kind.walks ? i * PAGE : 0, len: PAGE };
    batch.push(kind.op, kind.flags === undefined ? operands : { ...operands, flags: kind.flags });
  }
  return batch;
}

async function timeLoop(program: string, kind: Kind, count: number): Promise<number> {
  const { stdout } = await run(program, [kind.name, String(count)]);
  const result: unknown = JSON.parse(stdout);
  const value = typeof result === 'object' && result !== null && 'ns_per_op' in result ? result.ns_per_op : undefined;
  if (typeof value !== 'number') throw new Error(`the C loop printed: ${stdout}`);
  return value;
}

/** Compiles the hand-written loops. */
async function buildLoop(): Promise<string> {
  const folder = join(PACKAGE_ROOT, 'native');
  try {
    await run('make', ['-s', '-C', folder, 'bench-loop']);
  } catch (cause) {
    throw new CvmtraceError('UNAVAILABLE', 'the C loop cannot be built', { hint: 'install make and gcc', cause });
  }
  return join(folder, 'build', 'bench_loop');
}

function hasMappableGuestMemfd(native: Native): boolean {
  return native.probeHost().attempts['gmem.touch']?.errno === 0;
}
