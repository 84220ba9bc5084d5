/**
 * The lab: an emulated host in which KVM, VFIO and iommufd are the kernel's own, on any machine with QEMU. This file holds where its kernels
 * are kept: a folder each in the user's cache, named after the hash of its source and config.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, userCacheFolder } from '../../capture/cache-folder.ts';

export { bytesOnDisk, makeFolder, removeFolder } from '../../capture/cache-folder.ts';

/** What is known of a built kernel: `kernel.json` in its folder, written last. */
export interface LabKernel {
  /** As it was asked for: "6.12", or the path. */
  readonly name: string;
  /** Of the source's content and the config fragment, hexadecimal. */
  readonly hash: string;
  /** Of the fragment alone: another one makes the kernel old. */
  readonly configHash: string;
  /** `uname -r` inside; null for a bzImage whose header does not say. */
  readonly release: string | null;
  /** Symbols of the fragment that this kernel does not have. */
  readonly missing: readonly string[];
  /** The bzImage. */
  readonly image: string;
  /** Where it is kept. */
  readonly folder: string;
}

const DESCRIPTION = 'kernel.json';

/**
 * `$XDG_CACHE_HOME/cvmtrace/lab`, or `~/.cache/cvmtrace/lab`.
 * @throws CvmtraceError USAGE if XDG_CACHE_HOME is not absolute, as its specification demands
 */
export function cacheFolder(env: Readonly<Record<string, string | undefined>>): string {
  return userCacheFolder(env, 'lab');
}

/** All kernels that are whole, newest first. */
export function listKernels(cache: string): LabKernel[] {
  const found: { readonly kernel: LabKernel; readonly builtMs: number }[] = [];
  for (const folder of childrenOf(cache)) {
    const path = join(cache, folder, DESCRIPTION);
    const kernel = readKernel(path);
    if (kernel) found.push({ kernel, builtMs: statSync(path).mtimeMs });
  }
  return found.sort((a, b) => b.builtMs - a.builtMs).map(({ kernel }) => kernel);
}

/** Folders of builds that were begun and are not done. */
export function listUnfinished(cache: string): string[] {
  return childrenOf(cache)
    .map((name) => join(cache, name))
    .filter((folder) => readKernel(join(folder, DESCRIPTION)) === undefined && statSync(folder).isDirectory());
}

/** Makes the kernel count as built. */
export function saveKernel(kernel: LabKernel): void {
  writeFileSync(join(kernel.folder, DESCRIPTION), `${JSON.stringify(kernel, null, 2)}\n`);
}

export function kernelFolder(cache: string, name: string, hash: string): string {
  return join(cache, `${labelOf(name)}-${hash.slice(0, HASH_DIGITS)}`);
}

/** Folders of a release, finished or not. A path is not looked for: two trees may have the same last name. */
export function foldersOf(cache: string, name: string): string[] {
  if (name.includes('/')) return [];
  const label = `${labelOf(name)}-`;
  return childrenOf(cache)
    .filter((child) => child.startsWith(label) && child.length === label.length + HASH_DIGITS)
    .map((child) => join(cache, child));
}

const HASH_DIGITS = 16;

function labelOf(name: string): string {
  return name.replace(/^.*\/(?=[^/])/, '').replace(/[^\w.+-]+/g, '_');
}

function readKernel(path: string): LabKernel | undefined {
  try {
    const kernel = JSON.parse(readFileSync(path, 'utf8')) as LabKernel;
    return statSync(kernel.image).isFile() ? kernel : undefined;
  } catch {
    // Not there, half-written, or its image was deleted: not a kernel that can be used.
    return undefined;
  }
}
