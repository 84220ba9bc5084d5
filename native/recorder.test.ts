import { Worker } from 'node:worker_threads';
import { closeSync, openSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadNative, opCode, type RecorderOptions } from './index.ts';

const native = loadNative();
const OPTIONS: RecorderOptions = { ringBytes: 4096, onFull: 'block' };

describe('a recorder', () => {
  test('begins with its memory in place, and answers though nothing happens', async () => {
    const before = process.hrtime.bigint();
    const recorder = native.createRecorder(OPTIONS);
    expect(recorder.clockBaseNs).toBeGreaterThanOrEqual(before);
    expect(recorder.clockBaseNs).toBeLessThanOrEqual(process.hrtime.bigint());
    expect(recorder.path).toMatch(new RegExp(`^/proc/${process.pid}/fd/\\d+$`));
    closeSync(openSync(recorder.path, 'r+'));
    expect(await recorder.next()).toMatchObject({ rows: 0 });
    recorder.close();
    expect(() => openSync(recorder.path, 'r+')).toThrow('ENOENT');
  });

  test('has marks as rows by their time, whatever their length and letters', async () => {
    const recorder = native.createRecorder(OPTIONS);
    const names = ['first', 'zwölf \u{1f600}', 'x'.repeat(1000)];
    for (const name of names) recorder.mark(name, process.hrtime.bigint());
    recorder.mark('before the start', 0n);
    recorder.stop();
    const rows: [number | undefined, bigint | undefined, string | undefined][] = [];
    for (let batch = await recorder.next(); batch !== null; batch = await recorder.next()) {
      expect(batch.validity).toEqual({});
      expect(Object.keys(batch.columns)).toEqual(['ts_ns']);
      for (let row = 0; row < batch.rows; row++)
        rows.push([batch.op[row], batch.columns.ts_ns?.[row], batch.detail.get(row)]);
    }
    expect(rows.map(([op]) => op)).toEqual(new Array(4).fill(opCode('mark')));
    expect(rows.map(([, , name]) => name)).toEqual([...names, 'before the start']);
    const times = rows.map(([, tsNs]) => tsNs ?? -1n);
    expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
    expect(recorder.totals()).toEqual({
      processes: 0,
      liveProcesses: 0,
      threads: 0,
      vcpus: 0,
      rows: 4,
      dropped: 0,
      droppedWithoutSlot: 0,
      unreadable: 0,
      damaged: 0,
      blockedNs: 0,
      longExits: 0,
    });
    recorder.close();
  });

  test('that is closed answers who waits and who comes later with null, and keeps its totals', async () => {
    const recorder = native.createRecorder(OPTIONS);
    const waiting = [recorder.next(), recorder.next()];
    recorder.mark('lost', 0n);
    recorder.close();
    recorder.close();
    expect(await Promise.all(waiting)).toEqual([null, null]);
    expect(await recorder.next()).toBeNull();
    recorder.stop();
    recorder.mark('late', 0n);
    expect(recorder.totals().processes).toBe(0);
  });

  test('refuses options that are none', () => {
    const create = (options: unknown) => () => native.createRecorder(options as RecorderOptions);
    expect(create(undefined)).toThrow(TypeError);
    expect(create({ ...OPTIONS, ringBytes: 4095 })).toThrow('ringBytes is not a number from 4096 to 1073741824');
    expect(create({ ...OPTIONS, ringBytes: '8M' })).toThrow('ringBytes');
    expect(create({ ...OPTIONS, ringBytes: 2 ** 31 })).toThrow('ringBytes');
    expect(create({ ...OPTIONS, onFull: 'wait' })).toThrow('onFull is neither block nor drop');
    expect(create({ ...OPTIONS, counterPeriodMs: 0 })).toThrow('counterPeriodMs');
    const broken = Object.defineProperty({ ...OPTIONS }, 'ringBytes', {
      get: () => {
        throw new RangeError('getter');
      },
    });
    expect(create(broken)).toThrow('getter');
    const recorder = native.createRecorder(OPTIONS);
    expect(() => recorder.mark(5 as unknown as string, 0n)).toThrow(TypeError);
    expect(() => recorder.mark('a', 5 as unknown as bigint)).toThrow(TypeError);
    recorder.close();
  });

  test('that nobody closes goes with its worker thread, also while somebody waits', async () => {
    const addon = new URL('../native/build/cvmtrace.node', import.meta.url).pathname;
    const code = `const recorder = require(${JSON.stringify(addon)}).createRecorder({ ringBytes: 4096, onFull: 'drop' });
      recorder.next();
      require('node:worker_threads').parentPort.postMessage(recorder.path);
      process.exit(0);`;
    const worker = new Worker(code, { eval: true });
    // Both can be emitted in one go: who waits for the exit only after the message can miss it.
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const path = await new Promise<string>((resolve) => worker.once('message', resolve));
    await exited;
    expect(() => openSync(path, 'r+')).toThrow('ENOENT');
  });
});
