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

/** A kind of call: what the C program calls it, and the same as operations. */
interface Kind {
  readonly name: string;
  readonly op: OpName;
  readonly obj: number;
  readonly flags?: number;
  /** Each call works on the next page; else all on the first. */
  readonly walks: boolean;
  /** Objects and memory before the calls that are timed. */
  readonly setUp: (batch: OpBatch, bytes: number) => void;
}

function makeGmem(batch: OpBatch, bytes: number): void {
  batch.push('kvm_create_vm', { obj: VM, attrs: 0 });
  batch.push('kvm_create_guest_memfd', { obj: GMEM, len: bytes, flags: 0, peer: VM });
}

const KINDS: readonly Kind[] = [
  {
    name: 'madvise',
    op: 'ram_madvise',
    obj: RAM,
    flags: 0,
    walks: false,
    setUp: (batch) => batch.push('ram_create', { obj: RAM, len: PAGE, flags: 0 }),
  },
  {
    name: 'gmem-allocate4k',
    op: 'gmem_allocate',
    obj: GMEM,
    walks: true,
    setUp: makeGmem,
  },
  {
    name: 'gmem-punch4k',
    op: 'gmem_punch_hole',
    obj: GMEM,
    walks: true,
    setUp: (batch, bytes) => {
      makeGmem(batch, bytes);
      batch.push('gmem_allocate', { obj: GMEM, offset: 0, len: bytes });
    },
  },
  {
    name: 'ram-punch4k',
    op: 'ram_punch_hole',
    obj: RAM,
    walks: true,
    setUp: (batch, bytes) => {
      batch.push('ram_create', { obj: RAM, len: bytes, flags: RamFlag.memfd });
      batch.push('ram_allocate', { obj: RAM, offset: 0, len: bytes });
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
    const count = quick ? 20_000 : 100_000;
    const kinds = KINDS.filter((kind) => kind.obj !== GMEM || hasGuestMemfd(native));
    const times = new Map(kinds.map((kind) => [kind.name, { loop: [] as number[], executor: [] as number[] }]));
    for (let round = 0; round <= rounds; round++) {
      for (const kind of kinds) {
        signal.throwIfAborted();
        onProgress?.(`${kind.name}, round ${round} of ${rounds}`);
        const loop = await timeLoop(program, kind, count);
        const executor = await timeExecutor(native, kind, count);
        // Round 0 warms up.
        if (round === 0) continue;
        times.get(kind.name)?.loop.push(loop);
        times.get(kind.name)?.executor.push(executor);
      }
    }
    return {
      setup:
        `${count} calls a round, ${rounds} rounds in turns, each side in a process or session of its own; the C loop reads the clock before the ` +
        'first and after the last call, the executor around each',
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

/** ns per call, from the start of the first to the end of the last: what is between calls is in it. */
async function timeExecutor(native: Native, kind: Kind, count: number): Promise<number> {
  const session = native.createSession();
  try {
    const setUp = new OpBatch();
    kind.setUp(setUp, count * PAGE);
    const made = await session.execute(setUp.words, { stopAtFailure: true });
    if (made.failures > 0)
      throw new CvmtraceError('UNAVAILABLE', `cannot set up ${kind.name}`, { hint: 'see cvmtrace probe' });
    const batch = new OpBatch(count);
    for (let i = 0; i < count; i++) {
      const operands = { obj: kind.obj, offset: kind.walks ? i * PAGE : 0, len: PAGE };
      batch.push(kind.op, kind.flags === undefined ? operands : { ...operands, flags: kind.flags });
    }
    const { rows, failures, columns } = await session.execute(batch.words);
    if (failures > 0 || rows !== count) throw new Error(`${failures} of ${rows} calls of ${kind.name} failed`);
    const last = (columns.ts_ns[rows - 1] ?? 0n) + (columns.dur_ns[rows - 1] ?? 0n);
    return Number(last - (columns.ts_ns[0] ?? 0n)) / rows;
  } finally {
    await session.close();
  }
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

function hasGuestMemfd(native: Native): boolean {
  return native.probeHost().attempts['gmem.create.0']?.errno === 0;
}
