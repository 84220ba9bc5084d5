import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FlushClock } from './flush-timer.ts';
import { TraceFile } from './reader.ts';
import { batchAt } from './testdata/deterministic-rows.mjs';
import { expectRows, METADATA, testFolder, thrownBy, writeTrace } from './testing/sample.ts';
import { partialPath, TraceWriter } from './writer.ts';

const folder = testFolder();
const END = { exitStatus: 0, lostEvents: 0 };

/** Time that only moves when the test says so. */
class ManualClock implements FlushClock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();

  now(): number {
    return this.#now;
  }

  schedule(callback: () => void, delayMs: number): () => void {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** With `blocked`, timers do not run, as when JavaScript never returns to the event loop. */
  advance(ms: number, blocked = false): void {
    this.#now += ms;
    if (blocked) return;
    for (const timer of [...this.#timers]) {
      if (timer.at > this.#now) continue;
      this.#timers.delete(timer);
      timer.callback();
    }
  }

  get timers(): number {
    return this.#timers.size;
  }
}

function rowsInPartial(path: string): number {
  const file = TraceFile.open(partialPath(path), { allowPartial: true });
  try {
    expect(file.truncated).toMatchObject({ bytes: 0, reason: 'it has no footer' });
    expect(file.complete).toBe(false);
    return expectRows(file);
  } finally {
    file.close();
  }
}

test('until it is finished a trace is NAME.partial, then only NAME', async () => {
  const path = join(folder, 'life.arrow');
  const writer = TraceWriter.create(path, METADATA);
  expect([existsSync(path), existsSync(partialPath(path))]).toEqual([false, true]);
  await writer.finish(END);
  expect([existsSync(path), existsSync(partialPath(path))]).toEqual([true, false]);
  expect(() => writer.append(batchAt(0, 1))).toThrow('closed');
  writer.abort();
  writer.discard();
  expect(existsSync(path)).toBe(true);
});

test('rows are in the file at most a second after they were appended', () => {
  const path = join(folder, 'timer.arrow');
  const clock = new ManualClock();
  const writer = TraceWriter.create(path, METADATA, { clock });
  expect(clock.timers).toBe(0);
  writer.append(batchAt(0, 10));
  clock.advance(600);
  writer.append(batchAt(10, 10));
  expect(rowsInPartial(path)).toBe(0);
  clock.advance(399);
  expect(rowsInPartial(path)).toBe(0);
  clock.advance(1);
  expect(rowsInPartial(path)).toBe(20);
  expect(clock.timers).toBe(0);

  writer.append(batchAt(20, 1));
  clock.advance(1500, true);
  expect(rowsInPartial(path)).toBe(20);
  writer.append(batchAt(21, 1));
  expect(rowsInPartial(path)).toBe(22);
  expect(writer.rows).toBe(22);
  writer.discard();
});

test('nothing can be appended while a trace is being finished', async () => {
  const path = join(folder, 'finishing.arrow');
  const writer = TraceWriter.create(path, METADATA);
  const finishing = writer.finish(END);
  expect(() => writer.append(batchAt(0, 1))).toThrow('closed');
  expect(await finishing).toMatchObject({ rows: 1 });
});

test('much text is written before there is too much of it for a batch', () => {
  const path = join(folder, 'text.arrow');
  const writer = TraceWriter.create(path, METADATA);
  const detail = new Map([[0, 'x'.repeat(9 * 1024 * 1024)]]);
  for (let i = 0; i < 3; i++) writer.append({ rows: 1, op: Uint8Array.of(0), columns: {}, validity: {}, detail });
  const file = TraceFile.open(partialPath(path), { allowPartial: true });
  expect([file.rows, file.batchCount]).toEqual([2, 1]);
  file.close();
  writer.discard();
});

test('abort leaves what was flushed, discard nothing', () => {
  const path = join(folder, 'abort.arrow');
  const writer = TraceWriter.create(path, METADATA);
  writer.append(batchAt(0, 100));
  writer.flush();
  writer.append(batchAt(100, 5));
  writer.abort();
  expect(rowsInPartial(path)).toBe(100);
  expect(existsSync(path)).toBe(false);
  writer.discard();
  expect(existsSync(partialPath(path))).toBe(false);
});

test('an existing trace is replaced only with force, and only when the new one is whole', async () => {
  const path = join(folder, 'exists.arrow');
  await writeTrace(path, 10);
  const old = readFileSync(path);
  const error = thrownBy(() => TraceWriter.create(path, METADATA), 'IO');
  expect(error).toMatchObject({ message: `${path} exists`, hint: expect.stringContaining('--force') as string, path });
  expect(existsSync(partialPath(path))).toBe(false);
  const writer = TraceWriter.create(path, METADATA, { force: true });
  writer.append(batchAt(0, 20));
  expect(readFileSync(path)).toEqual(old);
  await writer.finish(END);
  const file = TraceFile.open(path);
  expect(file.rows).toBe(21);
  file.close();
});

test('a trace that appeared in the meantime is not replaced', async () => {
  const path = join(folder, 'race.arrow');
  const writer = TraceWriter.create(path, METADATA);
  writer.append(batchAt(0, 8));
  writeFileSync(path, 'other');
  await expect(writer.finish(END)).rejects.toMatchObject({ code: 'IO', message: `${path} exists` });
  expect(readFileSync(path, 'utf8')).toBe('other');
  expect(existsSync(partialPath(path))).toBe(true);
});

test('a .partial that is there is never touched, not even with force', () => {
  const path = join(folder, 'busy.arrow');
  const writer = TraceWriter.create(path, METADATA);
  const error = thrownBy(() => TraceWriter.create(path, METADATA, { force: true }), 'IO');
  expect(error.message).toContain(`${partialPath(path)} exists`);
  expect(error.hint).toContain('cvmtrace recover');
  writer.append(batchAt(0, 9));
  writer.flush();
  expect(rowsInPartial(path)).toBe(9);
  writer.discard();
});

test('places where no trace can be', () => {
  const directory = join(folder, 'directory.arrow');
  mkdirSync(directory);
  expect(thrownBy(() => TraceWriter.create(directory, METADATA, { force: true }), 'IO').message).toContain(
    'not a file',
  );
  const missing = join(folder, 'no', 'such', 'folder.arrow');
  expect(thrownBy(() => TraceWriter.create(missing, METADATA), 'IO').hint).toContain('mkdir -p');
  const underFile = join(folder, 'life.arrow', 'x.arrow');
  thrownBy(() => TraceWriter.create(underFile, METADATA), 'IO');
  expect(readdirSync(directory)).toEqual([]);
});

test('bugs of the caller are not written into a file', () => {
  const path = join(folder, 'bugs.arrow');
  const wrong = { ...METADATA, leftOut: undefined };
  expect(() => TraceWriter.create(path, wrong as unknown as typeof METADATA)).toThrow(
    "must have required property 'leftOut'",
  );
  const writer = TraceWriter.create(path, METADATA);
  const batch = batchAt(0, 16);
  expect(() => writer.append({ ...batch, rows: 17 })).toThrow('column op of a batch of 17 rows has 16 values');
  expect(() => writer.append({ ...batch, columns: { ...batch.columns, vcpu: new Uint16Array(15) } })).toThrow(
    'column vcpu',
  );
  expect(() => writer.append({ ...batch, validity: { gpa: new Uint8Array(1) } })).toThrow('validity of gpa');
  expect(() => writer.append({ ...batch, op: new Uint8Array(16).fill(200) })).toThrow('operation code 200');
  expect(() => writer.append({ ...batch, columns: { lag_ns: new BigUint64Array(16) } })).toThrow(
    'not created as paced',
  );
  expect(writer.rows).toBe(0);
  writer.discard();
});
