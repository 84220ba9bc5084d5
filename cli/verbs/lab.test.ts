import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fakeImage } from '../../bench/lab/testing/fake-kernel.ts';
import { FakeQemu } from '../../bench/lab/testing/fake-qemu.ts';
import { ExitStatus } from '../exit-status.ts';
import { runCli, type CliOptions, type CliRun } from '../testing/run-cli.ts';

let folder: string;
let qemu: FakeQemu;
/** With a bzImage that was built. */
let built: Readonly<Record<string, string>>;
/** With none. */
let empty: Readonly<Record<string, string>>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-lab-verb-'));
  qemu = new FakeQemu();
  writeFileSync(join(folder, 'vmlinuz'), fakeImage('6.12.57-own'));
  built = { ...qemu.env, XDG_CACHE_HOME: join(folder, 'cache') };
  empty = { ...qemu.env, XDG_CACHE_HOME: join(folder, 'none') };
  const run = await cli(['build', '--kernel', join(folder, 'vmlinuz')]);
  expect(run).toMatchObject({ status: 0, stderr: '' });
});
afterEach(() => qemu.does('process.exit(1)'));
afterAll(() => {
  rmSync(folder, { recursive: true });
  qemu.remove();
});

function cli(argv: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  return runCli(['lab', ...argv], { stdin: '', env: built, ...options });
}

describe('lab run', () => {
  it('passes streams and status on', async () => {
    qemu.does(`
      let text = '';
      for await (const chunk of stdin) text += chunk;
      stdout.write(text.toUpperCase());
      stderr.write('careful\\n');
      lines(['exit 42 ' + text.length + ' 8']);
    `);
    const run = await cli(['run', '--device', 'none', '--', 'tr', 'a-z', 'A-Z'], { stdin: 'hello' });
    expect(run).toMatchObject({ status: 42, stdout: 'HELLO', stderr: 'careful\n' });
    expect(qemu.args.join(' ')).toMatch(/-smp 2 -m 2048M .*virtio-iommu-pci/);
  });

  it('hands an interrupt on, and ends with the status of the command', async () => {
    qemu.does(`
      control.on('data', (chunk) => {
        if (chunk.toString().includes('signal 2')) lines(['exit 5 0 0']);
      });
      lines(['started']);
    `);
    let send: ((signal: 'SIGINT') => void) | undefined;
    const running = cli(['run', '--', 'sleep', '60'], { onStart: (way) => (send = way) });
    setTimeout(() => send?.('SIGINT'), 200);
    expect(await running).toMatchObject({ status: 5, stderr: '' });
  });

  it('ends with 70 and the console where the machine breaks down', async () => {
    qemu.does(`process.stdout.write('Kernel panic - not syncing: no init\\n', () => process.exit(0));`);
    const run = await cli(['run', '--', 'true']);
    expect(run.status).toBe(ExitStatus.bug);
    expect(run.stderr).toBe(
      "cvmtrace lab run: the lab's machine panicked\n  Kernel panic - not syncing: no init\n" +
        'hint: the last lines of its console are above\n',
    );
  });

  it.each([
    [['--json', '--', 'true'], ExitStatus.usage, /has no --json of its own\nhint: give --json to the command/],
    [['--iommu', 'vt-d', '--', 'true'], ExitStatus.usage, /no IOMMU "vt-d"\nhint: did you mean vtd\?/],
    [['--device', 'e100e', '--', 'true'], ExitStatus.usage, /no device "e100e"\nhint: did you mean e1000e\?/],
    [['--cpus', '0', '--', 'true'], ExitStatus.usage, /--cpus/],
    [['--cpus', '99', '--', 'true'], ExitStatus.usage, /--cpus cannot be 99\nhint: from 1 to 32/],
    [['--memory', '64M', '--', 'true'], ExitStatus.usage, /--memory cannot be 64M/],
    [['--memory', 'much', '--', 'true'], ExitStatus.usage, /--memory/],
    [['--share', '/nonexistent', '--', 'true'], ExitStatus.noInput, /--share: no folder \/nonexistent/],
    [['--kernel', '6.1', '--', 'true'], ExitStatus.unavailable, /no kernel 6.1: .*\nhint: .*lab build --kernel 6.1/],
    [[], ExitStatus.usage, /missing required argument 'command'/],
  ])('%j is refused', async (argv, status, message) => {
    const run = await cli(['run', ...argv]);
    expect(run).toMatchObject({ status, stdout: '' });
    expect(run.stderr).toMatch(message);
  });

  it('a file is no folder to share', async () => {
    expect((await cli(['run', '--share', join(folder, 'vmlinuz'), '--', 'true'])).status).toBe(ExitStatus.noInput);
  });

  it('says how to build a kernel where there is none, and how to get QEMU', async () => {
    const run = await cli(['run', '--', 'true'], { env: empty });
    expect(run.status).toBe(ExitStatus.unavailable);
    expect(run.stderr).toContain('hint: build one, some minutes: cvmtrace lab build --kernel 6.12\n');
    const noQemu = await cli(['run', '--', 'true'], { env: { ...built, PATH: '/nonexistent' } });
    expect(noQemu.status).toBe(ExitStatus.unavailable);
    expect(noQemu.stderr).toContain('qemu-system-x86');
  });
});

describe('lab build', () => {
  it('says what was there already, also as JSON', async () => {
    const image = join(folder, 'vmlinuz');
    const text = await cli(['build', '--kernel', image]);
    expect(text.stdout).toMatch(/^kernel \S+vmlinuz \(6\.12\.57-own\) was built before: \S+bzImage\n$/);
    const { stdout } = await cli(['build', '--kernel', image, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'cvmtrace.lab-build/1',
      built: false,
      kernel: { name: image, release: '6.12.57-own' },
    });
  });

  it.each([
    ['/nonexistent', ExitStatus.noInput, /neither a release, nor a file or folder/],
    ['FOLDER', ExitStatus.usage, /no kernel tree, tarball or x86 bzImage/],
  ])('%s is no kernel', async (name, status, message) => {
    const run = await cli(['build', '--kernel', name === 'FOLDER' ? folder : name]);
    expect(run).toMatchObject({ status, stdout: '' });
    expect(run.stderr).toMatch(message);
  });
});

describe('lab list', () => {
  it('has what is built and what is not finished', async () => {
    const begun = join(folder, 'cache/cvmtrace/lab/6.1-0123');
    mkdirSync(begun);
    writeFileSync(join(begun, 'build.log'), 'x'.repeat(5000));
    const { stdout } = await cli(['list']);
    expect(stdout).toMatch(/^KERNEL +RELEASE +ON DISK +STATE +FOLDER\n/);
    expect(stdout).toMatch(/vmlinuz +6\.12\.57-own +\d+K +ready +\//);
    expect(stdout).toMatch(/\d+K +not finished +\S+6\.1-0123\n$/);
    const listed = JSON.parse((await cli(['list', '--json'])).stdout) as { kernels: unknown[]; unfinished: unknown[] };
    expect(listed.kernels).toMatchObject([{ release: '6.12.57-own', outdated: false }]);
    expect(listed.unfinished).toEqual([{ folder: begun, bytes: expect.any(Number) as number }]);
    rmSync(begun, { recursive: true });
  });

  it('says how to begin', async () => {
    const run = await cli(['list'], { env: empty });
    expect(run).toMatchObject({ status: 0, stdout: 'no kernel is built; build one with: cvmtrace lab build\n' });
    expect(JSON.parse((await cli(['list', '--json'], { env: empty })).stdout)).toMatchObject({
      kernels: [],
      unfinished: [],
    });
  });

  it('tells a config of before', async () => {
    const { kernels } = JSON.parse((await cli(['list', '--json'])).stdout) as { kernels: [{ folder: string }] };
    const description = join(kernels[0].folder, 'kernel.json');
    const text = readFileSync(description, 'utf8');
    writeFileSync(description, text.replace('"configHash": ""', '"configHash": "of before"'));
    expect((await cli(['list'])).stdout).toContain('config is older than kernel.config');
    qemu.does(`lines(['exit 0 0 0']);`);
    expect((await cli(['run', '--', 'true'])).stderr).toContain('is older than kernel.config: cvmtrace lab build');
    writeFileSync(description, text);
  });
});
