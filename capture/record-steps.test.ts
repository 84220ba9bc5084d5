import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CvmtraceError, loadNative, OpBatch, RamFlag } from '../native/index.ts';
import { recordSteps, type StepRecording } from './record-steps.ts';
import { readRows, TraceFile, type TraceRow } from './trace/index.ts';
import { METADATA } from './trace/testing/sample.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

function recording(name: string, signal = new AbortController().signal): StepRecording {
  return { native: loadNative(), out: join(folder, name), force: false, metadata: METADATA, signal };
}

function create(obj: number): OpBatch {
  const batch = new OpBatch();
  batch.push('ram_create', { obj, len: 8192, flags: RamFlag.memfd }, 'shared');
  batch.push('ram_touch', { obj, offset: 0, len: 4096, flags: 1 });
  batch.push('ram_punch_hole', { obj, offset: 0, len: 1 << 20 });
  batch.push('ram_touch', { obj, offset: 4096, len: 4096, flags: 1 });
  return batch;
}

function rowsOf(path: string): TraceRow[] {
  const file = TraceFile.open(path);
  try {
    expect(file.complete).toBe(true);
    return [...readRows(file)];
  } finally {
    file.close();
  }
}

describe('a recording step by step', () => {
  it('returns the rows that the trace has', async () => {
    const made = recording('steps.arrow');
    await recordSteps(made, async (recorder) => {
      await recorder.mark('begin');
      const rows = await recorder.step(create(1));
      expect(rows.map(({ op, errnoName, result }) => [op, errnoName, result])).toEqual([
        ['ram_create', '', 0],
        ['ram_touch', '', 1],
        ['ram_punch_hole', 'EINVAL', null],
        ['ram_touch', '', 1],
      ]);
      expect(recorder.residentBytes(1) ?? 8192).toBe(8192);
      return 1;
    });
    const rows = rowsOf(made.out);
    expect(rows.map(({ op }) => op)).toEqual([
      'mark',
      'ram_create',
      'ram_touch',
      'ram_punch_hole',
      'ram_touch',
      'mark',
    ]);
    expect(rows.at(-1)).toMatchObject({ detail: 'trace_end', result: 1n });
    expect(rows[0]).toMatchObject({ detail: 'begin', pid: process.pid });
  });

  it('stops at a failure if it is asked to', async () => {
    await recordSteps(recording('stop.arrow'), async (recorder) => {
      const rows = await recorder.step(create(1), { stopAtFailure: true });
      expect(rows.map(({ errno }) => errno)).toEqual([0, 0, 22]);
      return 0;
    });
  });

  it('begins anew in the same trace, whose times go on', async () => {
    const made = recording('renewed.arrow');
    await recordSteps(made, async (recorder) => {
      const [first] = await recorder.step(create(1));
      await recorder.renew();
      const [again] = await recorder.step(create(2));
      expect(again?.tsNs).toBeGreaterThan((first?.tsNs ?? 0) + (first?.durNs ?? 0));
      const gone = new OpBatch();
      gone.push('ram_touch', { obj: 1, offset: 0, len: 4096, flags: 1 });
      expect(await recorder.step(gone)).toMatchObject([{ errnoName: 'EBADF' }]);
      return 0;
    });
    const times = rowsOf(made.out).map(({ ts_ns: time }) => time as bigint);
    expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
  });

  it('an interrupt leaves a whole trace of what had run', async () => {
    const controller = new AbortController();
    const made = recording('interrupted.arrow', controller.signal);
    const running = recordSteps(made, async (recorder) => {
      await recorder.step(create(1));
      controller.abort();
      await recorder.step(create(2));
      return 0;
    });
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(rowsOf(made.out).at(-1)).toMatchObject({ result: 130n });
  });

  it('leaves no trace of a scenario that cannot run, and does not overwrite one', async () => {
    const made = recording('refused.arrow');
    const refuse = recordSteps(made, () => Promise.reject(new CvmtraceError('UNAVAILABLE', 'no such device')));
    await expect(refuse).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect([existsSync(made.out), existsSync(`${made.out}.partial`)]).toEqual([false, false]);
    await recordSteps(made, () => Promise.resolve(0));
    await expect(recordSteps(made, () => Promise.resolve(0))).rejects.toMatchObject({ code: 'IO' });
  });
});
