import { appendFileSync, chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CvmtraceError, type ErrorCode } from '../../native/index.ts';
import { buildKernel, type BuildOptions } from './build.ts';
import { cacheFolder, kernelFolder, listKernels, listUnfinished, makeFolder, saveKernel } from './cache.ts';
import { hashConfig } from './source.ts';
import { fakeImage, FakeKernel } from './testing/fake-kernel.ts';

let folder: string;
let fake: FakeKernel;
let env: Record<string, string>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-build-'));
  fake = new FakeKernel(folder);
  env = { PATH: process.env['PATH'] ?? '', XDG_CACHE_HOME: join(folder, 'cache') };
});
afterEach(() => rmSync(folder, { recursive: true }));

const switchOn = (name: string) => writeFileSync(join(folder, name), '');
const switchOff = (name: string) => rmSync(join(folder, name));

function build(kernel: string, options: Partial<BuildOptions> = {}) {
  const { signal } = new AbortController();
  // What a real kernel needs beyond these is not needed here, and may not be there.
  const needs = ['make', 'tar'].map((file) => ({ file, package: file }));
  return buildKernel({ kernel, install: false, env, signal, needs, roomBytes: 0, ...options });
}

async function refusal(building: Promise<unknown>, code: ErrorCode): Promise<CvmtraceError> {
  const error: unknown = await building.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof CvmtraceError)) throw new Error(`it was not refused: ${String(error)}`);
  expect(error.code, error.message).toBe(code);
  return error;
}

describe('a tarball', () => {
  it('is built, once', async () => {
    const progress: [number, string][] = [];
    const tarball = fake.tarball();
    const first = await build(tarball, { onProgress: (fraction, what) => progress.push([fraction, what]) });
    expect(first).toMatchObject({
      built: true,
      kernel: { name: tarball, release: '6.12.99', missing: ['IOMMUFD_TEST'] },
    });
    expect(readFileSync(first.kernel.image)).toEqual(fakeImage());
    expect(listKernels(cacheFolder(env))).toEqual([first.kernel]);
    expect(await build(tarball)).toEqual({ kernel: first.kernel, built: false });
    expect(fake.made()).toEqual(['configured', 'compiled']);
    expect(progress.map(([, what]) => what)).toEqual([
      'looking at the source',
      'unpacking',
      'configuring',
      'CC lib/error-inject.o',
      'LD vmlinux',
    ]);
    const fractions = progress.map(([fraction]) => fraction);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
  });

  it('leaves neither source nor objects behind, and one of other content is another kernel', async () => {
    const { kernel } = await build(fake.tarball());
    expect(['source', 'objects', 'lock'].filter((name) => existsSync(join(kernel.folder, name)))).toEqual([]);
    appendFileSync(join(fake.tree, 'Makefile'), '# changed\n');
    const other = await build(fake.tarball());
    expect(other).toMatchObject({ built: true });
    expect(other.kernel.folder).not.toBe(kernel.folder);
    expect(listKernels(cacheFolder(env))).toHaveLength(2);
  });

  it('goes on where it failed', async () => {
    switchOn('broken');
    const tarball = fake.tarball();
    const error = await refusal(build(tarball), 'UNAVAILABLE');
    // What is being compiled is no error, whatever it is called.
    expect(error.message).toMatch(/^compiling failed with status 2: main.c:1: error: broken \| make: \*\*\*/);
    const [unfinished = ''] = listUnfinished(cacheFolder(env));
    expect(error.hint).toContain(join(unfinished, 'build.log'));
    expect(listKernels(cacheFolder(env))).toEqual([]);
    switchOff('broken');
    writeFileSync(join(unfinished, 'source/image'), fakeImage('6.12.100 mended'));
    expect(await build(tarball)).toMatchObject({ built: true, kernel: { release: '6.12.100' } });
    expect(fake.made()).toEqual(['configured', 'compiled']);
    expect(listUnfinished(cacheFolder(env))).toEqual([]);
  });

  it('that is none fails as it is unpacked', async () => {
    const path = join(folder, 'not-really.tar');
    writeFileSync(path, 'x'.repeat(2000));
    expect((await refusal(build(path), 'UNAVAILABLE')).message).toMatch(/^unpacking failed with status 2: tar: /);
  });
});

describe('a tree', () => {
  it('is made again each time, with the objects and the config of before', async () => {
    const { kernel } = await build(fake.tree);
    expect(await build(fake.tree)).toMatchObject({ built: true });
    expect(fake.made()).toEqual(['configured', 'compiled', 'compiled']);
    expect(existsSync(join(kernel.folder, 'objects/.config'))).toBe(true);
    expect(basename(kernel.folder)).toMatch(/^linux-[\da-f]{16}$/);
  });

  it('is configured anew when the config has changed', async () => {
    const { kernel } = await build(fake.tree);
    writeFileSync(join(kernel.folder, 'fragment'), 'CONFIG_OF_BEFORE=y\n');
    await build(fake.tree);
    expect(fake.made()).toEqual(['configured', 'compiled', 'configured', 'compiled']);
  });
});

it('a bzImage is taken as it is', async () => {
  const path = join(folder, 'vmlinuz');
  writeFileSync(path, fakeImage('7.0.0-own'));
  const { kernel, built } = await build(path);
  expect({ built, release: kernel.release, configHash: kernel.configHash }).toEqual({
    ...{ built: true, release: '7.0.0-own', configHash: '' },
  });
  expect(readFileSync(kernel.image)).toEqual(readFileSync(path));
  expect(fake.made()).toEqual([]);
  expect(await build(path)).toMatchObject({ built: false });
});

describe('one build at a time', () => {
  /** A build that failed, with this in its lock. */
  async function lockedBy(holder: string): Promise<void> {
    switchOn('broken');
    await refusal(build(fake.tree), 'UNAVAILABLE');
    switchOff('broken');
    const [unfinished = ''] = listUnfinished(cacheFolder(env));
    writeFileSync(join(unfinished, 'lock'), holder);
  }

  it('a process that lives is not disturbed', async () => {
    await lockedBy(String(process.ppid));
    const error = await refusal(build(fake.tree), 'UNAVAILABLE');
    expect(error.message).toContain(`another cvmtrace (process ${process.ppid}) is building`);
    expect(fake.made()).toEqual(['configured']);
  });

  // The largest pid of Linux is 2^22.
  it.each([String(2 ** 22 + 1), ''])('a lock that says %j is of the past', async (holder) => {
    await lockedBy(holder);
    expect(await build(fake.tree)).toMatchObject({ built: true });
  });
});

it('an interrupt ends all that make started, and the next build goes on', async () => {
  switchOn('slow');
  const abort = new AbortController();
  const interrupted = new CvmtraceError('INTERRUPTED', 'interrupted by SIGINT');
  const building = build(fake.tree, {
    signal: abort.signal,
    onProgress: (_, what) => {
      if (what === 'CC slow.o') abort.abort(interrupted);
    },
  });
  const error = await refusal(building, 'INTERRUPTED');
  expect(error.message).toBe('interrupted while compiling');
  expect(error.hint).toBe('the same command goes on where it stopped');
  const sleeping = Number(readFileSync(join(folder, 'sleeping'), 'utf8'));
  await vi.waitFor(() => expect(isRunning(sleeping)).toBe(false), { timeout: 5000 });
  switchOff('slow');
  expect(await build(fake.tree)).toMatchObject({ built: true });
  expect(fake.made()).toEqual(['configured', 'compiled']);
});

it('nothing begins after an interrupt', async () => {
  const abort = new AbortController();
  const interrupted = new CvmtraceError('INTERRUPTED', 'interrupted by SIGINT');
  abort.abort(interrupted);
  await refusal(build(fake.tree, { signal: abort.signal }), 'INTERRUPTED');
  expect(fake.made()).toEqual([]);
});

describe('room', () => {
  it('that is too little is said before anything is done', async () => {
    const error = await refusal(build(fake.tree, { roomBytes: 2 ** 60 }), 'IO');
    expect(error.message).toMatch(/^a build needs about 1073741824.0 GiB, and \S+ has \d+\.\d GiB left$/);
    expect(error.hint).toContain('XDG_CACHE_HOME');
    expect(fake.made()).toEqual([]);
  });

  it('that runs out is an error of I/O', async () => {
    switchOn('full');
    const error = await refusal(build(fake.tree), 'IO');
    expect(error.message).toBe('compiling: No space left on device');
    expect(error.hint).toContain('goes on where it stopped');
  });

  it('that cannot be had is one, too', async () => {
    writeFileSync(join(folder, 'file'), '');
    env['XDG_CACHE_HOME'] = join(folder, 'file');
    expect((await refusal(build(fake.tree), 'IO')).message).toContain('ENOTDIR');
  });
});

describe('what is not installed', () => {
  const needs = [
    { file: 'make', package: 'make' },
    { file: 'cvmtrace-no-such-tool', package: 'no-such-tool' },
    { file: '/nonexistent/header.h', package: 'header-dev' },
  ];

  it('is named, with the line that installs it', async () => {
    const error = await refusal(build(fake.tree, { needs }), 'UNAVAILABLE');
    expect(error.message).toMatch(/not installed here: no-such-tool, header-dev$/);
    expect(error.hint).toBe('as root: apt-get install --no-install-recommends no-such-tool header-dev');
  });

  it('is not missed by a kernel that is built', async () => {
    const folder = kernelFolder(cacheFolder(env), '0.1', 'f'.repeat(64));
    makeFolder(folder);
    const image = join(folder, 'bzImage');
    writeFileSync(image, fakeImage('0.1.2'));
    const kernel = { name: '0.1', hash: 'f'.repeat(64), release: '0.1.2', missing: [], image, folder };
    saveKernel({ ...kernel, configHash: hashConfig() });
    expect(await build('0.1', { needs: [] })).toMatchObject({ built: false, kernel: { image } });
    saveKernel({ ...kernel, configHash: 'of an older config' });
    await refusal(build('0.1', { needs: [] }), 'UNAVAILABLE');
  });

  it("of Debian's sources is a package, too", async () => {
    const error = await refusal(build('0.1', { needs: [] }), 'UNAVAILABLE');
    expect(error.hint).toBe('as root: apt-get install --no-install-recommends linux-source-0.1');
  });

  it.runIf(process.getuid?.() === 0)('is installed by --install, quietly', async () => {
    const apt = join(folder, 'apt-get');
    writeFileSync(apt, `#!/bin/sh\necho "$DEBIAN_FRONTEND $@" >> ${folder}/apt\n`);
    chmodSync(apt, 0o755);
    env['PATH'] = `${folder}:${env['PATH']}`;
    expect(await build(fake.tree, { needs, install: true })).toMatchObject({ built: true });
    expect(readFileSync(join(folder, 'apt'), 'utf8')).toBe(
      ' update -q\nnoninteractive install -q -y --no-install-recommends no-such-tool header-dev\n',
    );
  });

  it.runIf(process.getuid?.() !== 0)('is installed by root alone', async () => {
    const error = await refusal(build(fake.tree, { needs, install: true }), 'UNAVAILABLE');
    expect(error.message).toBe('--install needs root, to install no-such-tool, header-dev');
  });
});

function isRunning(pid: number): boolean {
  try {
    // A process that ended and has not been waited for is none that runs.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
