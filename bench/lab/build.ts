import { existsSync, readFileSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs';
import { copyFile, readFile, rename } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { CvmtraceError } from '../../native/index.ts';
import { isWork, runStep } from './build-step.ts';
import {
  cacheFolder,
  foldersOf,
  kernelFolder,
  type LabKernel,
  listKernels,
  makeFolder,
  removeFolder,
  saveKernel,
} from './cache.ts';
import { CONFIG_FRAGMENT, findSource, hashConfig, hashSource, imageRelease, type KernelSource } from './source.ts';
import { assertInstalled, BUILD_NEEDS, missingPackages, RUN_NEEDS, type Need } from './tools.ts';

export interface BuildOptions {
  /** A Debian release, a tree, a tarball or a bzImage. */
  readonly kernel: string;
  /** Install missing packages with apt-get. */
  readonly install: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** What building takes, of programs and of room, bytes; by default what a kernel takes. */
  readonly needs?: readonly Need[];
  readonly roomBytes?: number;
  /** How much is done, 0 to 1, and what is being done. */
  readonly onProgress?: (fraction: number, what: string) => void;
}

export interface BuildResult {
  readonly kernel: LabKernel;
  /** False if it was there already. */
  readonly built: boolean;
}

/** Source and objects of a build with this fragment, bytes. */
const ROOM_BYTES = 3 * 2 ** 30;
/** Lines like "  CC  mm/memory.o" that a build with this fragment prints, about: only the progress bar rests on it. */
const BUILD_LINES = 1960;
/** How far each part of the work goes, of 1. */
const UNPACKED = 0.04;
const CONFIGURED = 0.06;

/**
 * Builds a kernel for the lab, or takes the one that is there. What was interrupted goes on where it stopped.
 * @throws CvmtraceError USAGE, NO_INPUT for a source that is none; UNAVAILABLE if tools are missing or the build fails; IO if there is no room;
 * INTERRUPTED
 */
export async function buildKernel(options: BuildOptions): Promise<BuildResult> {
  const { env, onProgress } = options;
  const cache = cacheFolder(env);
  const source = await findSource(options.kernel);
  const configHash = hashConfig();
  if (source.kind === 'tarball' && source.package !== undefined && !existsSync(source.path)) {
    // Without the source nobody can say that there is a newer one, and what is there runs.
    const kernel = listKernels(cache).find((built) => built.name === source.name && built.configHash === configHash);
    if (kernel) return { kernel, built: false };
  }
  await install(options, source);
  onProgress?.(0, 'looking at the source');
  const hash = await combine(await hashSource(source), source.kind === 'image' ? '' : configHash);
  const ready = listKernels(cache).find((kernel) => kernel.hash === hash && kernel.name === source.name);
  if (ready && source.kind !== 'tree') return { kernel: ready, built: false };

  const folder = kernelFolder(cache, source.name, hash);
  makeOrFail(folder);
  return await withLock(folder, source.name, async () => {
    const image = join(folder, 'bzImage');
    if (source.kind === 'image') {
      await copyFile(source.path, image);
    } else {
      assertRoom(folder, options.roomBytes ?? ROOM_BYTES);
      const objects = join(folder, 'objects');
      await compile(source, folder, objects, options);
      await copyFile(join(objects, 'arch/x86/boot/bzImage'), `${image}.new`);
      await copyFile(join(objects, '.config'), join(folder, 'config'));
      await rename(`${image}.new`, image);
    }
    const kernel: LabKernel = {
      name: source.name,
      hash,
      configHash: source.kind === 'image' ? '' : configHash,
      release: await imageRelease(image),
      missing: source.kind === 'image' ? [] : missingSymbols(join(folder, 'config')),
      image,
      folder,
    };
    saveKernel(kernel);
    // What it replaces: the same source with an older config, or older source, also if its build was never finished.
    for (const old of foldersOf(cache, source.name)) if (old !== folder) removeFolder(old);
    if (source.kind === 'tarball') {
      // Over a gigabyte that nothing needs any more; of a tree the objects stay, for its next build.
      removeFolder(join(folder, 'source'));
      removeFolder(join(folder, 'objects'));
    }
    return { kernel, built: true };
  });
}

async function install(
  { env, install: wanted, signal, needs = BUILD_NEEDS, onProgress }: BuildOptions,
  source: KernelSource,
): Promise<void> {
  if (source.kind === 'image') return;
  const needed = [...missingPackages(needs, env)];
  if (source.kind === 'tarball' && source.package !== undefined && !existsSync(source.path))
    needed.push(source.package);
  // Nothing is built with it, but what is built is of no use without it: one line of apt is better than two.
  if ((wanted || needed.length > 0) && needs === BUILD_NEEDS) needed.push(...missingPackages(RUN_NEEDS, env));
  if (needed.length > 0 && wanted) {
    if (process.getuid?.() !== 0) {
      throw new CvmtraceError('UNAVAILABLE', `--install needs root, to install ${needed.join(', ')}`, {
        hint: 'run the same command as root, or install them by hand',
      });
    }
    const cache = cacheFolder(env);
    makeOrFail(cache);
    const step = { log: join(cache, 'install.log'), cwd: '/', env, signal };
    onProgress?.(0, `installing ${needed.join(', ')}`);
    await runStep('apt-get update', ['apt-get', 'update', '-q'], step);
    await runStep(
      'apt-get install',
      ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-q', '-y', '--no-install-recommends', ...needed],
      step,
    );
    return;
  }
  assertInstalled(needed, `building ${source.name}`);
}

async function compile(
  source: KernelSource,
  folder: string,
  objects: string,
  { env, signal, onProgress }: BuildOptions,
): Promise<void> {
  const log = join(folder, 'build.log');
  const step = { log, cwd: folder, env, signal };
  let tree = source.path;
  if (source.kind === 'tarball') {
    tree = join(folder, 'source');
    if (!existsSync(tree)) {
      onProgress?.(0, 'unpacking');
      const partial = `${tree}.partial`;
      removeFolder(partial);
      makeFolder(partial);
      await runStep('unpacking', ['tar', '-xf', source.path, '-C', partial, '--strip-components=1'], step);
      await rename(partial, tree);
    }
  }
  onProgress?.(UNPACKED, 'configuring');
  const make = ['make', '-C', tree, `O=${objects}`] as const;
  makeFolder(objects);
  // Not again over a .config that is the same: it would compile everything anew.
  const fragment = join(folder, 'fragment');
  const wanted = readFileSync(CONFIG_FRAGMENT, 'utf8');
  if (!existsSync(fragment) || readFileSync(fragment, 'utf8') !== wanted || !existsSync(join(objects, '.config'))) {
    await runStep('configuring', [...make, `KCONFIG_ALLCONFIG=${CONFIG_FRAGMENT}`, 'allnoconfig'], step);
    await copyFile(CONFIG_FRAGMENT, fragment);
  }
  let lines = (await readFile(log, 'utf8')).split('\n').filter(isWork).length;
  await runStep('compiling', [...make, `-j${availableParallelism()}`, 'bzImage'], {
    ...step,
    onLine: (line) => {
      if (!isWork(line)) return;
      lines++;
      onProgress?.(
        Math.min(0.99, CONFIGURED + (1 - CONFIGURED) * (lines / BUILD_LINES)),
        line.replaceAll(`${folder}/`, '').trim().replace(/ +/, ' '),
      );
    },
  });
}

/** Symbols that the fragment sets and this kernel does not have. */
function missingSymbols(config: string): string[] {
  const have = new Set(readFileSync(config, 'utf8').split('\n'));
  return readFileSync(CONFIG_FRAGMENT, 'utf8')
    .split('\n')
    .filter((line) => /^CONFIG_\w+=y$/.test(line) && !have.has(line) && !have.has(line.replace(/y$/, 'm')))
    .map((line) => line.slice('CONFIG_'.length, -'=y'.length));
}

async function combine(...parts: readonly string[]): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(parts.join('\n')));
  return Buffer.from(digest).toString('hex');
}

function makeOrFail(folder: string): void {
  try {
    makeFolder(folder);
  } catch (cause) {
    throw new CvmtraceError('IO', `cannot make ${folder}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'set XDG_CACHE_HOME to a folder that you can write to',
      cause,
    });
  }
}

function assertRoom(folder: string, needed: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const room = bavail * bsize;
  if (room >= needed || existsSync(join(folder, 'objects', '.config'))) return;
  throw new CvmtraceError(
    'IO',
    `a build needs about ${(needed / 2 ** 30).toFixed(1)} GiB, and ${folder} has ${(room / 2 ** 30).toFixed(1)} GiB left`,
    {
      hint: 'free some room, or set XDG_CACHE_HOME to a disk that has it',
    },
  );
}

/** One build of a kernel at a time; a lock whose process is gone counts as none. */
async function withLock<T>(folder: string, name: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, 'lock');
  const take = (): void => writeFileSync(path, String(process.pid), { flag: 'wx' });
  try {
    take();
  } catch (error) {
    if (!existsSync(path)) throw error;
    const pid = Number(readFileSync(path, 'utf8'));
    if (pid > 0 && isAlive(pid)) {
      throw new CvmtraceError('UNAVAILABLE', `another cvmtrace (process ${pid}) is building ${name}`, {
        hint: 'wait until it is done; both would write to the same folder',
      });
    }
    unlinkSync(path);
    take();
  }
  try {
    return await work();
  } finally {
    unlinkSync(path);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
