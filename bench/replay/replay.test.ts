/** End to end on this kernel: run a small boot, replay it, and hold what is reported against what was planned, recorded and held. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import type { Backend } from '../../capture/backends/backend.ts';
import { BACKENDS, openBackend } from '../../capture/backends/index.ts';
import { runWorkload } from '../../capture/run-workload.ts';
import { TraceWriter } from '../../capture/trace/index.ts';
import { METADATA } from '../../capture/trace/testing/sample.ts';
import { findWorkload } from '../../capture/workloads/registry.ts';
import { CvmtraceError, loadNative, opCode, PACKAGE_ROOT } from '../../native/index.ts';
import { parseStrategies, parseStrategy } from '../strategies/presets.ts';
import { underStrategy } from '../strategies/strategy-plan.ts';
import { replay, type ReplayOptions, type ReplayReport } from './replay.ts';

const run = promisify(execFile);
const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
const boot = join(folder, 'boot.arrow');
const strategy = parseStrategy('upm-eager');
const settings = {
  memoryBytes: 2 ** 28,
  seed: 7,
  parameters: { transactions: 60, transfers: 40, 'touch-percent': 1, think: 1000, swiotlb: 2 ** 23, partial: 2 ** 22 },
};

afterAll(() => rmSync(folder, { recursive: true }));

async function runBoot(backend: Backend, out: string, signal?: AbortSignal, onProgress?: (done: number) => void) {
  return runWorkload({
    native,
    backend,
    workload: findWorkload('boot'),
    settings,
    ...underStrategy(strategy),
    pacing: { pace: 'relative' },
    out,
    force: false,
    command: ['test'],
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
}

async function replayBoot(options: Pick<ReplayOptions, 'backend'> & Partial<ReplayOptions>): Promise<ReplayReport> {
  const into = mkdtempSync(join(folder, 'runs-'));
  return replay({
    native,
    trace: boot,
    strategies: parseStrategies(
      'upm-eager,upm-no-shared-discard,attributes-only,discard-shared=lazy:8M/4M,discard-private=lazy:8M',
    ),
    rounds: 2,
    pacing: { pace: 'asap' },
    folder: into,
    force: false,
    command: ['test'],
    signal: new AbortController().signal,
    ...options,
  });
}

async function rows(paths: readonly string[], sql: string): Promise<readonly (readonly unknown[])[]> {
  await using analysis = await openAnalysis(paths);
  return (await analysis.query(sql)).rows;
}

/** The backends that work on this host; two-memfd needs nothing but memfd_create. */
const backends: Backend[] = [];
for (const kind of BACKENDS) {
  const backend = await kind.open(native).catch((error: unknown) => {
    if (error instanceof CvmtraceError && error.code === 'UNAVAILABLE') return undefined;
    throw error;
  });
  if (backend) backends.push(backend);
}

beforeAll(async () => {
  await runBoot(await openBackend('auto', native), boot);
});

describe('run', () => {
  it('records each request of the workload, in order, with the calls that answer it', async () => {
    const requests = [...findWorkload('boot').generate(settings)];
    const recorded = await rows(
      [boot],
      "select gpa, len, attrs from events where op = 'exit_map_gpa_range' order by seq",
    );
    const converts = requests.filter((request) => request.kind === 'convert');
    expect(recorded.map(([gpa, len, attrs]) => [Number(gpa), Number(len), Number(attrs)])).toEqual(
      converts.map(({ gpa, len, to }) => [gpa, len, to === 'private' ? 16 : 0]),
    );
    const [sums] = await rows(
      [boot],
      "select count(*), sum(calls), count(*) filter (where outcome <> 'ok'), min(stall_ns - discard_ns - attribute_ns) from conversions",
    );
    const [calls] = await rows(
      [boot],
      "select count(*) from events where op in ('gmem_punch_hole', 'ram_punch_hole', 'kvm_set_memory_attributes')",
    );
    expect(sums?.slice(0, 3).map(Number)).toEqual([converts.length, Number(calls?.[0]), 0]);
    expect(Number(sums?.[3])).toBeGreaterThanOrEqual(0);
  });

  it('keeps the think times: no request starts before its pause is over', async () => {
    const paused = [...findWorkload('boot').generate(settings)].reduce((sum, request) => sum + request.paceNs, 0);
    const [wall] = await rows([boot], 'select max(ts_ns) - min(ts_ns), max(lag_ns) from events');
    expect(Number(wall?.[0])).toBeGreaterThan(paused);
  });

  it('ends with a whole trace when it is interrupted', async () => {
    const abort = new AbortController();
    const out = join(folder, 'interrupted.arrow');
    const summary = await runBoot(backends[0] as Backend, out, abort.signal, () => abort.abort());
    expect(summary.interrupted).toBe(true);
    const [end] = await rows([out], "select count(*), max(result) filter (where detail = 'trace_end') from events");
    expect(Number(end?.[0])).toBe(summary.rows + 1);
    expect(Number(end?.[1])).toBe(130);
  });

  it('refuses an output that exists and leaves it alone', async () => {
    const before = readFileSync(boot);
    await expect(runBoot(backends[0] as Backend, boot)).rejects.toMatchObject({ code: 'IO' });
    expect(readFileSync(boot).equals(before)).toBe(true);
  });
});

describe.each(backends)('replay on $name', (backend) => {
  let report: ReplayReport;
  beforeAll(async () => {
    report = await replayBoot({ backend });
  });

  it('ends with every page on the side where the recording left it, and the kernel holds the pages that were computed', () => {
    for (const { finalStateEqual, failures, memory } of report.strategies) {
      expect(failures).toEqual([]);
      expect(finalStateEqual).toBe(true);
      expect(memory.sampled).toMatchObject({ disagreements: 0, unavailable: null });
      expect(memory.sampled.samples).toBeGreaterThan(10);
      expect(memory.sampled.peakBothBytesMeasured).toBe(memory.sampled.peakBothBytesComputed);
    }
  });

  it('holds nothing twice when it discards eagerly, and the touched pages when it does not', () => {
    const [eager, kept] = report.strategies;
    expect(eager?.memory.peakBothBytes).toBe(0);
    expect(kept?.memory.peakBothBytes).toBeGreaterThan(0);
  });

  it('reports what the traces of its runs hold', async () => {
    for (const { traces, operations, stallNs, stallP50Ns, faultNs, wallNs } of report.strategies) {
      expect(traces).toHaveLength(2);
      const counted = await rows(traces, "select op::varchar, count(*) / 2 from events where op <> 'mark' group by op");
      expect(new Map(operations.map(({ op, perRun }) => [op, perRun]))).toEqual(
        new Map(counted.map(([op, count]) => [op, Number(count)])),
      );
      const [stall] = await rows(traces, 'select sum(stall_ns) / 2, count(*) from conversions');
      expect(stallNs.value).toBeCloseTo(Number(stall?.[0]), 3);
      expect(stallP50Ns).toBeLessThanOrEqual(stallNs.value);
      // Conversions and touches follow one another on one thread.
      expect(wallNs.value).toBeGreaterThanOrEqual(stallNs.value + faultNs.value);
    }
  });

  it('estimates the boot from the recorded times', () => {
    const { times } = report.recorded;
    for (const { estimatedBoot, stallNs, faultNs } of report.strategies) {
      const recorded = times?.vcpus[0];
      const expected =
        (times?.wallNs ?? NaN) -
        (recorded?.stallNs ?? NaN) -
        (recorded?.faultNs ?? NaN) +
        stallNs.value +
        faultNs.value;
      expect(estimatedBoot?.bootNs.value).toBeCloseTo(expected, 0);
    }
  });

  it('replays the trace of a replay to the same state', async () => {
    const again = await replayBoot({
      backend,
      trace: report.strategies[1]?.traces[0] ?? '',
      strategies: [strategy],
      rounds: 1,
    });
    expect(again.recorded.requests).toBe(report.recorded.requests);
    expect(again.strategies[0]?.finalStateEqual).toBe(true);
  });
});

describe('replay', () => {
  const backend = backends[0] as Backend;

  it('keeps the recorded times and says how late it was', async () => {
    const report = await replayBoot({
      backend,
      strategies: [strategy],
      rounds: 1,
      pacing: { pace: 'absolute', paceFactor: 1 },
    });
    const [paced] = report.strategies;
    expect(paced?.lag?.maxNs).toBeGreaterThanOrEqual(paced?.lag?.p50Ns ?? NaN);
    const [wall] = await rows(
      [boot],
      "select max(ts_ns) filter (where op = 'exit_map_gpa_range') - min(ts_ns) filter (where op = 'mark') from events",
    );
    expect(paced?.wallNs.value).toBeGreaterThan(Number(wall?.[0]) * 0.99);
  });

  it('sees that a replay ends in another state than the recording', async () => {
    const trace = await handMade('refused', [
      { gpa: 0, len: 8192, attrs: 16 },
      { gpa: 4096, len: 4096, attrs: 0, result: 22 },
    ]);
    const report = await replayBoot({ backend, trace, strategies: [strategy], rounds: 1 });
    expect(report.strategies[0]?.finalStateEqual).toBe(false);
  });

  it('skips what it cannot replay, says why, and finds the slots from the requests', async () => {
    const trace = await handMade('odd', [
      { gpa: 2 ** 30, len: 2 ** 21, attrs: 16 },
      { gpa: 100, len: 4096, attrs: 0 },
      { gpa: 2 ** 52, len: 4096, attrs: 0 },
    ]);
    const { recorded } = await replayBoot({ backend, trace, strategies: [strategy], rounds: 1 });
    expect(recorded.skipped).toEqual({ 'not whole pages': 1, 'beyond 52 bits of address': 1 });
    expect(recorded.slotsFrom).toBe('requests');
    expect(recorded.requests).toBe(1);
  });

  it('refuses a guest that would need more memory than there is, before anything runs', async () => {
    const trace = await handMade('huge', [{ gpa: 0, len: 400 * 2 ** 40, attrs: 16 }]);
    const strategies = [parseStrategy('upm-eager,allocation=allocate')];
    const into = mkdtempSync(join(folder, 'runs-'));
    await expect(replayBoot({ backend, trace, strategies, folder: into })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    expect(readdirSync(into)).toEqual([]);
  });

  it('refuses a trace without conversions', async () => {
    const trace = await handMade('empty', []);
    await expect(replayBoot({ backend, trace })).rejects.toMatchObject({ code: 'BAD_INPUT' });
  });

  it('stops when it is interrupted', async () => {
    const abort = new AbortController();
    const running = replayBoot({
      backend,
      signal: abort.signal,
      onProgress: () => abort.abort(new CvmtraceError('INTERRUPTED', 'now')),
    });
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });

  it.skipIf(!hasStrace())('executes the calls that it reports: strace counts the same', async () => {
    const calls = async (rounds: number) => {
      const log = join(folder, `strace-${rounds}`);
      const into = join(folder, `traced-${rounds}`);
      const cli = [process.execPath, join(PACKAGE_ROOT, 'dist/cli/main.js')];
      const replayIt = [
        'replay',
        boot,
        '--strategy',
        'upm-eager,upm-no-shared-discard',
        '--quiet',
        '--runs',
        String(rounds),
        '-o',
        into,
      ];
      await run('strace', ['-f', '-c', '-e', 'trace=fallocate,ioctl', '-o', log, ...cli, ...replayIt]);
      const traces = readdirSync(into).filter((name) => name.endsWith('.arrow'));
      const [counted] = await rows(
        traces.map((name) => join(into, name)),
        `select count(*) filter (where op in ('gmem_punch_hole', 'gmem_allocate', 'ram_punch_hole', 'ram_allocate')),
                count(*) filter (where op in ('kvm_create_vm', 'kvm_create_guest_memfd', 'kvm_set_user_memory_region2', 'kvm_set_memory_attributes'))
         from events`,
      );
      return {
        strace: straceCounts(readFileSync(log, 'utf8')),
        fallocate: Number(counted?.[0]),
        ioctl: Number(counted?.[1]),
      };
    };
    const one = await calls(1);
    const two = await calls(2);
    // What start-up and trying the backend call is the same in both, and falls out of the difference.
    const difference = (name: string) => (two.strace.get(name) ?? NaN) - (one.strace.get(name) ?? NaN);
    expect(two.fallocate - one.fallocate).toBeGreaterThan(200);
    expect(difference('fallocate')).toBe(two.fallocate - one.fallocate);
    expect(difference('ioctl')).toBe(two.ioctl - one.ioctl);
  });
});

interface HandMadeRow {
  readonly gpa: number;
  readonly len: number;
  readonly attrs: number;
  readonly result?: number;
}

/** A trace of exits that no workload makes, without slots in its metadata. */
async function handMade(name: string, exits: readonly HandMadeRow[]): Promise<string> {
  const path = join(folder, `${name}.arrow`);
  const writer = TraceWriter.create(path, { ...METADATA, guest: { ...METADATA.guest, slots: [] } });
  const u64 = (values: readonly number[]) => BigUint64Array.from(values, BigInt);
  writer.append({
    rows: exits.length,
    op: new Uint8Array(exits.length).fill(opCode('exit_map_gpa_range')),
    columns: {
      ts_ns: u64(exits.map((_, i) => i * 1000)),
      dur_ns: u64(exits.map(() => 10)),
      gpa: u64(exits.map(({ gpa }) => gpa)),
      len: u64(exits.map(({ len }) => len)),
      attrs: u64(exits.map(({ attrs }) => attrs)),
      result: BigInt64Array.from(exits, ({ result = 0 }) => BigInt(result)),
    },
    validity: {},
  });
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
  return path;
}

function hasStrace(): boolean {
  try {
    execFileSync('strace', ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Calls by name from the summary of `strace -c`. */
function straceCounts(summary: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of summary.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const name = fields.at(-1) ?? '';
    if (name === 'fallocate' || name === 'ioctl') counts.set(name, Number(fields[3]));
  }
  return counts;
}
