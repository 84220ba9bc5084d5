import { createHash, randomBytes } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CvmtraceError, type ErrorCode } from '../../native/index.ts';
import { type Lab, type LabRun, runInLab } from './run.ts';
import { FakeQemu } from './testing/fake-qemu.ts';

let qemu: FakeQemu;
beforeEach(() => (qemu = new FakeQemu()));
afterEach(() => qemu.remove());

class Collected extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

interface Started {
  readonly lab: Lab;
  readonly stdout: Collected;
  readonly stderr: Collected;
}

function start(changes: Partial<LabRun> = {}): Started {
  const stdout = new Collected();
  const stderr = new Collected();
  const lab = runInLab({
    machine: { cpus: 2, memoryBytes: 2 ** 30, iommu: 'vtd', device: 'edu' },
    image: '/k/bzImage',
    folders: ['/work', '/a b'],
    argv: ['sh', '-c', 'true'],
    program: "/it's/main.js",
    env: qemu.env,
    stdin: Readable.from([]),
    stdout,
    stderr,
    ...changes,
  });
  return { lab, stdout, stderr };
}

async function failureOf({ lab }: Started, code: ErrorCode): Promise<CvmtraceError> {
  const error: unknown = await lab.status.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof CvmtraceError)) throw new Error(`it did not fail as it should: ${String(error)}`);
  expect(error.code, error.message).toBe(code);
  return error;
}

describe('a command', () => {
  it('gets its input and gives its output and status, byte by byte', async () => {
    const input = randomBytes(700_000);
    // The status comes first: what has been printed is passed on all the same. QEMU itself never ends.
    qemu.does(`
      const chunks = [];
      for await (const chunk of stdin) chunks.push(chunk);
      const input = Buffer.concat(chunks);
      lines(['alive', 'started', 'exit 137 ' + input.length + ' 5']);
      await later(20);
      stderr.write('oops\\n');
      for (let at = 0; at < input.length; at += 100_000) {
        stdout.write(input.subarray(at, at + 100_000));
        await later(5);
      }
      setInterval(() => {}, 1000);
    `);
    const { lab, stdout, stderr } = start({ stdin: Readable.from([input.subarray(0, 5), input.subarray(5)]) });
    expect(await lab.status).toBe(137);
    expect(hash(stdout.bytes)).toBe(hash(input));
    expect(stderr.bytes.toString()).toBe('oops\n');
    await vi.waitFor(() => expect(qemu.runs).toBe(false));
  });

  it('is told to the machine as it was given', async () => {
    qemu.does(`
      control.once('data', (chunk) => {
        stdout.write(chunk);
        lines(['exit 0 ' + chunk.length + ' 0']);
      });
    `);
    const { lab, stdout } = start({ argv: ['printf', '', 'ü b'], env: { ...qemu.env, EMPTY: '' } });
    expect(await lab.status).toBe(0);
    const texts = stdout.bytes.toString().split('\0');
    expect(texts.slice(0, 2)).toEqual(['1234:11e8', '0']);
    expect(texts[2]).toBe(`#!/bin/sh\nexec '${process.execPath}' '/it'\\''s/main.js' "$@"\n`);
    expect(texts.slice(3, 13)).toEqual([
      ...['4', 'share0', '/work', 'share1', '/a b'],
      ...['/work', '3', 'printf', '', 'ü b'],
    ]);
    expect(texts.slice(14, -1).sort()).toEqual(
      ['CVMTRACE_LAB=vtd', 'EMPTY=', 'HOME=/root', `PATH=${qemu.env['PATH'] ?? ''}`].sort(),
    );
    expect(qemu.args).toContain('/k/bzImage');
  });

  it('gets signals and the size of its terminal', async () => {
    qemu.does(`
      let said = '';
      control.on('data', (chunk) => {
        said += chunk.toString();
        if (!said.includes('window 30')) return;
        const text = said.slice(said.lastIndexOf('\\0') + 1);
        stdout.write(text);
        lines(['exit 0 ' + text.length + ' 0']);
      });
      lines(['started']);
    `);
    const { lab, stdout } = start({ terminal: { rows: 24, columns: 80 } });
    lab.kill('SIGINT');
    lab.kill('SIGTERM');
    lab.resize(30, 100);
    expect(await lab.status).toBe(0);
    expect(stdout.bytes.toString()).toBe('window 24 80\nsignal 2\nsignal 15\nwindow 30 100\n');
  });

  it('whose reader has gone goes on to its end', async () => {
    qemu.does(`
      stdout.write('x'.repeat(300_000));
      lines(['exit 3 300000 0']);
    `);
    const gone = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
    }).on('error', () => undefined);
    expect(await start({ stdout: gone }).lab.status).toBe(3);
  });

  it('whose output cannot be written does not wait for ever', async () => {
    qemu.does(`
      lines(['started']);
      stdout.write('x'.repeat(300_000));
      setInterval(() => lines(['alive']), 50);
    `);
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done(full) }).on('error', () => undefined);
    await expect(start({ stdout }).lab.status).rejects.toBe(full);
    await vi.waitFor(() => expect(qemu.runs).toBe(false));
  });
});

describe('a machine', () => {
  it('that ends early says so with the last lines of its console', async () => {
    qemu.does(`
      console.error('qemu-system-x86_64: warning: TCG doesn\\'t support requested feature: CPUID.01H');
      console.error('qemu-system-x86_64: could not load kernel');
      for (let i = 0; i < 20; i++) process.stdout.write('[ ' + i + '] line\\r\\n');
      process.stdout.write('\\r\\n', () => process.exit(1));
    `);
    const error = await failureOf(start(), 'CRASHED');
    expect(error.message).toBe("the lab's machine ended before its command did (QEMU: status 1)");
    expect(error.output).toEqual([
      'qemu-system-x86_64: could not load kernel',
      ...Array.from({ length: 12 }, (_, i) => `[ ${i + 8}] line`),
    ]);
    expect(error.hint).toBe('the last lines of its console are above');
  });

  it('that panics panicked', async () => {
    qemu.does(`process.stdout.write('[ 1.0] Kernel panic - not syncing: sysrq\\n', () => process.exit(0));`);
    const error = await failureOf(start(), 'CRASHED');
    expect(error.message).toBe("the lab's machine panicked");
    expect(error.output.at(-1)).toContain('Kernel panic - not syncing');
  });

  it('that is killed names the signal', async () => {
    qemu.does(`process.kill(process.pid, 'SIGKILL');`);
    expect((await failureOf(start(), 'CRASHED')).message).toContain('QEMU: SIGKILL');
  });

  it('that does not boot is given up, and is gone', async () => {
    qemu.does(`setInterval(() => {}, 1000);`);
    const error = await failureOf(start({ bootLimitMs: 400 }), 'CRASHED');
    expect(error.message).toBe("the lab's machine did not boot in time");
    expect(error.hint).toContain('its console is empty');
    await vi.waitFor(() => expect(qemu.runs).toBe(false));
  });

  it('that falls silent hangs', async () => {
    qemu.does(`
      lines(['started', 'alive']);
      console.log('watchdog: BUG: soft lockup');
      setInterval(() => {}, 1000);
    `);
    const error = await failureOf(start({ silenceLimitMs: 400 }), 'CRASHED');
    expect(error.message).toBe("the lab's machine hangs");
    expect(error.output).toEqual(['watchdog: BUG: soft lockup']);
  });

  it('that says that it is there may take its time', async () => {
    qemu.does(`
      for (let i = 0; i < 18; i++) {
        lines([i === 0 ? 'started' : 'alive']);
        await later(50);
      }
      lines(['exit 0 0 0']);
    `);
    expect(await start({ silenceLimitMs: 700 }).lab.status).toBe(0);
  });

  it('that cannot be set up says what failed', async () => {
    qemu.does(`lines(['alive', 'failed cannot bind 1234:11e8: ENODEV']);`);
    const error = await failureOf(start(), 'UNAVAILABLE');
    expect(error.message).toBe('the lab could not be set up: cannot bind 1234:11e8: ENODEV');
    expect(error.hint).toContain('cvmtrace lab list');
  });

  it('can be ended', async () => {
    qemu.does(`lines(['started']); setInterval(() => {}, 1000);`);
    const started = start();
    started.lab.stop();
    await failureOf(started, 'CRASHED');
  });

  it('needs QEMU', () => {
    expect(() => start({ env: { PATH: '/nonexistent' } })).toThrow(
      expect.objectContaining({
        code: 'UNAVAILABLE',
        hint: 'as root: apt-get install --no-install-recommends qemu-system-x86',
      }),
    );
  });
});

function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
