/** What becomes of real processes when they are recorded. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadNative } from '../../native/index.ts';
import { readRows, recoverTrace, TraceFile, type TraceRow, verifyTrace } from '../trace/index.ts';
import { type NotStarted, recordCommand, type RecordOptions, type RecordSummary } from './record.ts';
import { sendMark } from './control.ts';
import { targetFolder } from './testing/recorded-target.ts';

const { path: folder, target } = targetFolder();
const env = { ...process.env, XDG_RUNTIME_DIR: folder, TMPDIR: folder };
let traces = 0;

interface Recorded {
  readonly out: string;
  readonly outcome: RecordSummary | NotStarted;
  readonly rows: readonly TraceRow[];
  readonly stdout: string;
  readonly notes: readonly string[];
}

/** Records the target with these steps, or another command. `signals` hands over a way to send stop signals. */
async function record(
  steps: readonly string[],
  options: Partial<RecordOptions> = {},
  signals?: (send: (signal: NodeJS.Signals) => void) => void,
): Promise<Recorded> {
  const out = join(folder, `${traces++}.arrow`);
  const notes: string[] = [];
  const pieces: Buffer[] = [];
  const outcome = await recordCommand({
    native: loadNative(),
    argv: [target, ...steps],
    env,
    out,
    force: false,
    ringBytes: 1 << 20,
    onFull: 'block',
    writeStdout: (bytes) => Promise.resolve(void pieces.push(bytes)),
    commandLine: ['cvmtrace', 'record'],
    onStopSignal: (listener) => {
      signals?.(listener);
      return () => undefined;
    },
    onNote: (message) => notes.push(message),
    onWarning: (message) => notes.push(message),
    ...options,
  });
  return { out, outcome, rows: existsSync(out) ? rowsOf(out) : [], stdout: Buffer.concat(pieces).toString(), notes };
}

function rowsOf(path: string): readonly TraceRow[] {
  const file = TraceFile.open(path);
  try {
    return [...readRows(file)];
  } finally {
    file.close();
  }
}

function only(rows: readonly TraceRow[], op: string): readonly TraceRow[] {
  return rows.filter((row) => row['op'] === op);
}

function countBy(rows: readonly TraceRow[], column: string): number[] {
  const counts = new Map<unknown, number>();
  for (const row of rows) counts.set(row[column], (counts.get(row[column]) ?? 0) + 1);
  return [...counts.values()].sort((a, b) => a - b);
}

describe('a recording', () => {
  test('has the calls in their order, with their ranges and times, and the exit status at its end', async () => {
    const { out, rows, outcome } = await record(['punch=50', 'exit=7']);
    expect(outcome).toMatchObject({ exitStatus: 7, lost: 0, processes: 1, threads: 1, rows: 51, leftOut: [] });
    const holes = only(rows, 'ram_punch_hole');
    expect(holes.map(({ offset }) => offset)).toEqual(Array.from({ length: 50 }, (_, i) => BigInt(i) * 4096n));
    expect(holes.every(({ len, errno, dur_ns: durNs }) => len === 4096n && errno === 0 && Number(durNs) > 0)).toBe(
      true,
    );
    expect(rows.at(-1)).toMatchObject({ op: 'mark', detail: 'trace_end', result: 7n, len: 0n });
    expect(verifyTrace(out)).toMatchObject({ problems: [] });
    const file = TraceFile.open(out);
    expect(file.metadata).toMatchObject({
      source: 'record',
      clock: { name: 'CLOCK_MONOTONIC' },
      recording: { ringBytes: 1 << 20, onFull: 'block' },
      guest: { requests: 'guest', vmType: null },
    });
    file.close();
  });

  test('has all threads and children, also after exec', async () => {
    const threads = await record(['punch=10', 'threads=8']);
    expect(countBy(only(threads.rows, 'ram_punch_hole'), 'tid')).toEqual([10, 10, 10, 10, 10, 10, 10, 10, 10]);
    const children = await record(['punch=10', 'fork', 'punch=20', 'exec', 'punch=30']);
    const holes = only(children.rows, 'ram_punch_hole');
    expect(holes).toHaveLength(60);
    expect(countBy(holes, 'pid')).toEqual([10, 50]);
  });

  test('of a command that is killed keeps what it did', async () => {
    const { rows, outcome } = await record(['punch=100', 'raise=9']);
    expect(outcome).toMatchObject({ exitStatus: 137 });
    expect(only(rows, 'ram_punch_hole')).toHaveLength(100);
  });

  test('loses nothing through small rings if threads wait, and counts what it loses if they do not', async () => {
    const blocked = await record(['punch=3000', 'threads=2'], { ringBytes: 4096 });
    expect(blocked.outcome).toMatchObject({ lost: 0, rows: 9_001 });
    const dropped = await record(['punch=3000', 'threads=2'], { ringBytes: 4096, onFull: 'drop' });
    if (!('lost' in dropped.outcome)) throw new Error('not started');
    const { lost, rows } = dropped.outcome;
    expect(lost).toBeGreaterThan(0);
    const events = only(dropped.rows, 'ram_punch_hole').length;
    expect(events + lost).toBe(9_000);
    const told = only(dropped.rows, 'lost').reduce((sum, { len }) => sum + Number(len), 0);
    expect(told).toBe(lost);
    expect(dropped.rows.at(-1)).toMatchObject({ detail: 'trace_end', len: BigInt(lost) });
    expect(rows).toBe(dropped.rows.length);
  });

  test('goes on with what the command left behind', async () => {
    const { rows, notes, outcome } = await record(['punch=5', 'background', 'sleep=300', 'punch=40']);
    expect(only(rows, 'ram_punch_hole')).toHaveLength(45);
    expect(notes).toEqual([expect.stringMatching(/^still recording a process that the command left behind \(\d+\); /)]);
    expect(outcome).toMatchObject({ exitStatus: 0, lost: 0 });
  });

  test('without any call says why, and is kept', async () => {
    const { out, outcome } = await record(['exit=0'], { argv: ['/bin/sh', '-c', 'exit 3'] });
    expect(outcome).toMatchObject({ exitStatus: 3, leftOut: [{ step: 'events' }] });
    const file = TraceFile.open(out);
    expect(file.metadata.leftOut).toEqual([
      { step: 'events', reason: 'the recording library was in 1 process, and saw no call of KVM, VFIO or iommufd' },
    ]);
    expect(file.rows).toBe(1);
    file.close();
    const cleared = await record([], { argv: ['/usr/bin/env', '-u', 'LD_PRELOAD', target, 'punch=3'] });
    expect(cleared.outcome).toMatchObject({ exitStatus: 0, rows: 1, leftOut: [{ step: 'events' }] });
  });
});

describe('a command that does not run', () => {
  test('leaves no trace', async () => {
    const missing = await record([], { argv: ['no-such-command'] });
    expect(missing.outcome).toEqual({ status: 127, reason: 'no-such-command is not a file in PATH' });
    const source = join(import.meta.dirname, 'testdata', 'target.c');
    expect((await record([], { argv: [source] })).outcome).toMatchObject({ status: 126 });
    expect([missing.out, `${missing.out}.partial`].filter((path) => existsSync(path))).toEqual([]);
  });
});

describe('phases', () => {
  test('come from lines of standard output, which passes through as it is', async () => {
    const { rows, stdout } = await record(['say=boot one', 'punch=3', 'say=noise', 'say=boot two'], {
      phaseFrom: /^boot (?<name>.*)$/u,
    });
    expect(stdout).toBe('boot one\nnoise\nboot two\n');
    expect(only(rows, 'mark').map(({ detail }) => detail)).toEqual(['one', 'two', 'trace_end']);
  });

  test('are set from beside the recording, at the time that was asked', async () => {
    let marked = 0n;
    const { rows } = await record(['say=ready', 'sleep=200', 'punch=5'], {
      phaseFrom: /ready/u,
      writeStdout: async () => {
        marked = process.hrtime.bigint();
        await sendMark(env, 'beside', marked);
      },
    });
    const marks = only(rows, 'mark').map(({ detail }) => detail);
    expect(marks).toEqual(['ready', 'beside', 'trace_end']);
    const [first] = only(rows, 'ram_punch_hole');
    expect(Number(first?.['seq'])).toBe(2);
  });
});

describe('an interrupt', () => {
  const READY = /ready/u;

  test('goes to the command, and the trace is whole', async () => {
    let send: (signal: NodeJS.Signals) => void = () => undefined;
    const { outcome, out } = await record(
      ['say=ready', 'forever'],
      {
        phaseFrom: READY,
        writeStdout: () => {
          send('SIGTERM');
          return Promise.resolve();
        },
      },
      (listener) => (send = listener),
    );
    expect(outcome).toMatchObject({ exitStatus: 143, lost: 0 });
    expect(verifyTrace(out)).toMatchObject({ problems: [] });
  });

  test('the second time kills a command that takes no notice', async () => {
    let send: (signal: NodeJS.Signals) => void = () => undefined;
    const { outcome, rows } = await record(
      ['ignore=15', 'punch=10', 'say=ready', 'forever'],
      {
        phaseFrom: READY,
        writeStdout: () => {
          send('SIGTERM');
          setTimeout(() => send('SIGTERM'), 100);
          return Promise.resolve();
        },
      },
      (listener) => (send = listener),
    );
    expect(outcome).toMatchObject({ exitStatus: 137 });
    expect(only(rows, 'ram_punch_hole').length).toBeGreaterThan(10);
  });

  test('the third time ends at once, and leaves what there is to recover', async () => {
    let send: (signal: NodeJS.Signals) => void = () => undefined;
    const out = join(folder, 'aborted.arrow');
    const recording = record(
      ['ignore=15', 'punch=10', 'sleep=300', 'say=ready', 'forever'],
      {
        out,
        phaseFrom: READY,
        writeStdout: () => {
          for (let i = 0; i < 3; i++) send('SIGTERM');
          return Promise.resolve();
        },
      },
      (listener) => (send = listener),
    );
    await expect(recording).rejects.toMatchObject({ code: 'INTERRUPTED', message: 'interrupted by SIGTERM' });
    expect(existsSync(out)).toBe(false);
    recoverTrace(`${out}.partial`, join(folder, 'saved.arrow'));
    expect(only(rowsOf(join(folder, 'saved.arrow')), 'ram_punch_hole')).toHaveLength(10);
  });

  test('ends the recording of what was left behind, and leaves that alone', async () => {
    let send: (signal: NodeJS.Signals) => void = () => undefined;
    const pids: number[] = [];
    const { outcome, rows } = await record(
      ['background', 'forever'],
      {
        onNote: (note) => {
          pids.push(Number(/\((\d+)\)/.exec(note)?.[1]));
          setTimeout(() => send('SIGINT'), 100);
        },
      },
      (listener) => (send = listener),
    );
    expect(outcome).toMatchObject({ exitStatus: 0 });
    expect(only(rows, 'ram_punch_hole').length).toBeGreaterThan(10);
    const [pid = 0] = pids;
    // It goes on without being recorded.
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/^\d+ \(target\) [RS]/);
    process.kill(pid, 'SIGKILL');
  });
});
