import { mkdtempSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { CvmtraceError } from '../../native/index.ts';
import { TraceFile } from '../trace/reader.ts';
import { readRows, type TraceRow } from '../trace/rows.ts';
import { importLog, type ImportSummary, type LogImport } from './import-log.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-import-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let number = 0;
let out = '';
beforeEach(() => (out = join(folder, `${++number}.arrow`)));

const LINE = (ms: number, gpa: number): string =>
  `7@1800000000.${String(ms).padStart(3, '0')}000:kvm_memory_fault start 0x${gpa.toString(16)} size 0x1000 flags 0x8\n`;
const LOG = `${LINE(5, 0x1000)}some message\n${LINE(6, 0x2000)}7@1800000000.007000:kvm_memory_fault start 0x30\n${LINE(8, 0x4000)}`;
const BASE = 1_800_000_000_005_000_000n;

/** A file of this content. */
function file(content: string | Uint8Array, name = 'a.log'): string {
  const path = join(folder, `${number}-${name}`);
  writeFileSync(path, content);
  return path;
}

function run(input: LogImport['input'], more: Partial<LogImport> = {}): Promise<ImportSummary> {
  const signal = new AbortController().signal;
  return importLog({ input, options: {}, out, force: false, command: ['cvmtrace', 'import'], signal, ...more });
}

function rows(path = out): TraceRow[] {
  const trace = TraceFile.open(path);
  try {
    return [...readRows(trace)];
  } finally {
    trace.close();
  }
}

function metadata(path = out): TraceFile['metadata'] {
  const trace = TraceFile.open(path);
  trace.close();
  return trace.metadata;
}

async function failure(running: Promise<unknown>): Promise<CvmtraceError> {
  const error: unknown = await running.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof CvmtraceError)) throw new Error(`no CvmtraceError: ${String(error)}`);
  // A failed import leaves nothing behind.
  expect(existsSync(out)).toBe(false);
  expect(existsSync(`${out}.partial`)).toBe(false);
  return error;
}

describe('importLog', () => {
  it('writes rows, what was not understood, and the end', async () => {
    const summary = await run(file(LOG));
    expect(summary).toMatchObject({
      format: 'qemu-log',
      compressed: null,
      imported: 3,
      interrupted: false,
      lostEvents: 0,
    });
    expect(rows().map(({ op, ts_ns: ts, gpa, len, flags, detail }) => ({ op, ts, gpa, len, flags, detail }))).toEqual([
      { op: 'exit_memory_fault', ts: 0n, gpa: 0x1000n, len: 0x1000n, flags: 8n, detail: null },
      { op: 'exit_memory_fault', ts: 1_000_000n, gpa: 0x2000n, len: 0x1000n, flags: 8n, detail: null },
      { op: 'exit_memory_fault', ts: 3_000_000n, gpa: 0x4000n, len: 0x1000n, flags: 8n, detail: null },
      {
        op: 'import_trouble',
        ts: null,
        gpa: null,
        len: 1n,
        flags: 0n,
        detail: 'kvm_memory_fault with other arguments, or cut: line 4',
      },
      { op: 'import_trouble', ts: null, gpa: null, len: 1n, flags: 1n, detail: 'other line: line 2' },
      { op: 'mark', ts: null, gpa: null, len: 0n, flags: null, detail: 'trace_end' },
    ]);
    expect(metadata()).toMatchObject({
      source: 'import',
      clock: { name: 'CLOCK_REALTIME', baseNs: String(BASE), wallOffsetNs: '0' },
      host: null,
      import: { format: 'qemu-log', file: `${number}-a.log`, compressed: null, clockOffsetNs: '0', alignedTo: null },
    });
  });

  it('says nothing of a clock that the log does not have', async () => {
    await run(file('kvm_memory_fault start 0x1000 size 0x1000 flags 0x8\n'));
    expect(metadata().clock).toEqual({ name: 'unknown', baseNs: null, wallOffsetNs: null });
    expect(rows()[0]).toMatchObject({ ts_ns: null });
  });

  it('reads streams, in any pieces, and gzip from both', async () => {
    await run(file(LOG));
    const expected = rows();
    for (const [input, compressed] of [
      [Readable.from([Buffer.from(LOG.slice(0, 10)), LOG.slice(10)]), null],
      [Readable.from([...gzipSync(LOG)].map((byte) => Buffer.of(byte))), 'gzip'],
      [Readable.from([gzipSync(LOG)]), 'gzip'],
      [file(gzipSync(LOG), 'no-suffix'), 'gzip'],
      [file(Buffer.concat([gzipSync(LOG.slice(0, 99)), gzipSync(LOG.slice(99))]), 'two-members'), 'gzip'],
    ] as const) {
      rmSync(out);
      expect(await run(input)).toMatchObject({ compressed });
      expect(rows()).toEqual(expected);
    }
  });

  it('keeps what was there of compressed data that is cut', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => LINE(i % 1000, i * 0x1000)).join('');
    const whole = gzipSync(many);
    const summary = await run(file(whole.subarray(0, whole.length / 2)));
    expect(summary.imported).toBeGreaterThan(1_000);
    expect(summary.troubles[0]).toMatchObject({ kind: 'gzip data is damaged or cut', count: 1 });
  });

  it('knows no zstd on a Node without it, and says what to do', async () => {
    const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 1, 2, 3]);
    const zlib = (await import('node:zlib')) as { createZstdDecompress?: unknown };
    if (zlib.createZstdDecompress) return;
    expect(await failure(run(file(magic)))).toMatchObject({ code: 'UNAVAILABLE', hint: /zstd -dc FILE/ });
  });

  it('refuses what is no log', async () => {
    expect(await failure(run(file('')))).toMatchObject({ code: 'BAD_INPUT', message: /is empty/ });
    expect(await failure(run(file('hello\nworld\n')))).toMatchObject({
      code: 'BAD_INPUT',
      message: /does not begin as any log/,
      hint: /looked for .*qemu-log/,
    });
    expect(await failure(run(join(folder, 'missing')))).toMatchObject({ code: 'NO_INPUT' });
    expect(await failure(run(folder))).toMatchObject({ code: 'BAD_INPUT', message: /is a folder/ });
    expect(await failure(run(file(LOG), { format: 'qemu-lgo' }))).toMatchObject({
      code: 'USAGE',
      hint: /did you mean qemu-log\?/,
    });
    expect(await failure(run(file('hello\nworld\n'), { format: 'qemu-log' }))).toMatchObject({
      code: 'BAD_INPUT',
      message: /nothing in .* was understood as qemu-log/,
      hint: /2 x other line: lines 1, 2/,
    });
  });

  it('refuses a trace, and a name that is taken before it reads', async () => {
    const log = file(LOG);
    await run(log);
    const trace = out;
    out = join(folder, 'again.arrow');
    expect(await failure(run(trace))).toMatchObject({ code: 'BAD_INPUT', message: /is an Arrow file, no log/ });
    out = trace;
    const before = readFileSync(trace);
    const error: unknown = await run(log).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'IO', message: /exists$/ });
    expect(readFileSync(trace)).toEqual(before);
    await run(log, { force: true });
  });

  it('ends at an interrupt with a whole trace', async () => {
    const abort = new AbortController();
    async function* endless(): AsyncGenerator<Buffer> {
      for (let i = 0; ; i++) {
        if (i === 100) abort.abort();
        yield Buffer.from(LINE(i % 1000, i * 0x1000).repeat(50));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const summary = await run(Readable.from(endless()), { signal: abort.signal });
    expect(summary.interrupted).toBe(true);
    expect(summary.imported).toBeGreaterThan(1_000);
    expect(rows()).toHaveLength(summary.rows);
  });

  it('does not take part of a line for a line at an interrupt', async () => {
    const abort = new AbortController();
    const pipe = new PassThrough();
    const running = run(pipe, { signal: abort.signal });
    pipe.write(LINE(1, 0x1000).repeat(100) + LINE(2, 0x2000).slice(0, -12));
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort();
    const { troubles } = await running;
    expect(troubles).toEqual([]);
    expect(rows().filter(({ flags, op }) => op === 'exit_memory_fault' && flags === 8n)).toHaveLength(100);
  });

  describe('clocks', () => {
    const clock = { name: 'CLOCK_MONOTONIC', baseNs: '7000000000', wallOffsetNs: String(BASE - 7_000_000_000n - 500n) };
    const align = { path: '/x/boot.arrow', clock };

    it('moves times by an offset', async () => {
      await run(file(LOG), { clockOffsetNs: -1_500_000n });
      expect(metadata()).toMatchObject({
        clock: { baseNs: String(BASE - 1_500_000n) },
        import: { clockOffsetNs: '-1500000' },
      });
      expect(rows()[1]).toMatchObject({ ts_ns: 1_000_000n });
    });

    it('puts wall times on the base of a trace that knows its own', async () => {
      await run(file(LOG), { align });
      expect(
        rows()
          .map(({ ts_ns: ts }) => ts)
          .slice(0, 3),
      ).toEqual([500n, 1_000_500n, 3_000_500n]);
      expect(metadata()).toMatchObject({ clock, import: { clock: 'CLOCK_REALTIME', alignedTo: 'boot.arrow' } });
    });

    it('leaves what is before that base without a time', async () => {
      await run(file(LOG), { align, clockOffsetNs: -1_000_000n });
      expect(
        rows()
          .map(({ ts_ns: ts }) => ts)
          .slice(0, 3),
      ).toEqual([null, 500n, 2_000_500n]);
      expect(rows().find(({ op }) => op === 'import_trouble')).toMatchObject({ detail: /before the trace's base/ });
    });

    it('takes the same clock as it is, by the name that the user gives', async () => {
      await run(file(LOG), { align, options: { sourceClock: 'mono' } });
      expect(rows()[0]).toMatchObject({ ts_ns: BASE - 7_000_000_000n });
    });

    it('refuses clocks that have nothing to do with each other, unless the offset is given', async () => {
      const options = { sourceClock: 'x86-tsc' };
      expect(await failure(run(file(LOG), { align, options }))).toMatchObject({
        code: 'USAGE',
        message:
          'times of the clock "x86-tsc" cannot be put on the base of /x/boot.arrow, whose clock is "CLOCK_MONOTONIC"',
        hint: /trace_clock.*--clock-offset/,
      });
      await run(file(LOG), { align, options, clockOffsetNs: 7_000_000_001n - BASE });
      expect(rows()[0]).toMatchObject({ ts_ns: 1n });
      out += '2';
      expect(await failure(run(file(LOG), { align: { ...align, clock: { ...clock, baseNs: null } } }))).toMatchObject({
        code: 'USAGE',
      });
      expect(await failure(run(file(LOG.replace(/^\d+@[\d.]+:/gm, '')), { align }))).toMatchObject({
        code: 'USAGE',
        message: /has no times/,
      });
    });
  });
});
