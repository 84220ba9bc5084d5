import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  bytesOnDisk,
  cacheFolder,
  kernelFolder,
  type LabKernel,
  listKernels,
  listUnfinished,
  makeFolder,
  saveKernel,
} from './cache.ts';
import { findKernel } from './find-kernel.ts';
import { hashConfig } from './source.ts';

let cache: string;
beforeEach(() => (cache = mkdtempSync(join(tmpdir(), 'cvmtrace-cache-'))));
afterEach(() => rmSync(cache, { recursive: true }));

/** A kernel that is built, that many seconds after the others of age 0. */
function built(name: string, { age = 0, ...changes }: Partial<LabKernel> & { age?: number } = {}): LabKernel {
  const folder = join(cache, name.replaceAll('/', '_') + String(age));
  mkdirSync(folder);
  const kernel: LabKernel = {
    ...{ name, hash: 'h', configHash: hashConfig(), release: `${name}.0`, missing: [] },
    ...{ image: join(folder, 'bzImage'), folder },
    ...changes,
  };
  writeFileSync(kernel.image, '');
  saveKernel(kernel);
  utimesSync(join(folder, 'kernel.json'), 1_000_000 - age, 1_000_000 - age);
  return kernel;
}

describe('the folder', () => {
  it('follows XDG_CACHE_HOME, else HOME', () => {
    expect(cacheFolder({ XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/x/cvmtrace/lab');
    expect(cacheFolder({ XDG_CACHE_HOME: '', HOME: '/h' })).toBe('/h/.cache/cvmtrace/lab');
    expect(cacheFolder({})).toBe(join(homedir(), '.cache/cvmtrace/lab'));
    expect(() => cacheFolder({ XDG_CACHE_HOME: 'x' })).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('has one folder for each source and config, whose name can be read', () => {
    const hash = '0123456789abcdef0123';
    expect(kernelFolder('/c', '6.12', hash)).toBe('/c/6.12-0123456789abcdef');
    expect(kernelFolder('/c', '/src/my linux/', hash)).toBe('/c/my_linux_-0123456789abcdef');
    expect(kernelFolder('/c', '/src/linux-6.9.tar.xz', hash)).toBe('/c/linux-6.9.tar.xz-0123456789abcdef');
  });

  it('is made with what is above it', () => {
    makeFolder(join(cache, 'a/b/c'));
    makeFolder(join(cache, 'a/b/c'));
    expect(existsSync(join(cache, 'a/b/c'))).toBe(true);
    expect(() => makeFolder('/proc/none/at/all')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});

describe('kernels', () => {
  it('are listed newest first; without a folder there are none', () => {
    const old = built('6.1', { age: 60 });
    const fresh = built('6.12');
    expect(listKernels(cache)).toEqual([fresh, old]);
    expect(listKernels(join(cache, 'none'))).toEqual([]);
    expect(listUnfinished(join(cache, 'none'))).toEqual([]);
  });

  it.each([
    ['without a description', (kernel: LabKernel) => rmSync(join(kernel.folder, 'kernel.json'))],
    [
      'with half a description',
      (kernel: LabKernel) => writeFileSync(join(kernel.folder, 'kernel.json'), '{"name": "6.1'),
    ],
    ['with another description', (kernel: LabKernel) => writeFileSync(join(kernel.folder, 'kernel.json'), '[]')],
    ['without its image', (kernel: LabKernel) => rmSync(kernel.image)],
  ])('%s are not finished', (_, breakIt) => {
    const whole = built('6.12');
    const broken = built('6.1');
    breakIt(broken);
    writeFileSync(join(cache, 'install.log'), '');
    expect(listKernels(cache)).toEqual([whole]);
    expect(listUnfinished(cache)).toEqual([broken.folder]);
  });

  it('take the room of all their files', () => {
    const { folder } = built('6.12');
    const before = bytesOnDisk(folder);
    mkdirSync(join(folder, 'objects'));
    writeFileSync(join(folder, 'objects/vmlinux'), Buffer.alloc(100_000, 1));
    expect(bytesOnDisk(folder) - before).toBeGreaterThanOrEqual(100_000);
    expect(bytesOnDisk(folder) - before).toBeLessThan(300_000);
  });
});

describe('the kernel to run', () => {
  it("is the first of Debian's releases that is built, else the newest", () => {
    const own = built('/src/linux');
    built('/src/older', { age: 9 });
    expect(findKernel(cache, undefined).kernel).toEqual(own);
    built('6.1', { age: 99 });
    expect(findKernel(cache, undefined).kernel.name).toBe('6.1');
    built('6.12', { age: 99 });
    expect(findKernel(cache, undefined).kernel.name).toBe('6.12');
  });

  it('is named as it was built, by its place or by its release, the newest of those', () => {
    built('6.12', { age: 50 });
    const fresh = built('6.12', { age: 1 });
    const own = built(cache, { release: '7.0.0-own', age: 99 });
    expect(findKernel(cache, '6.12').kernel).toEqual(fresh);
    expect(findKernel(cache, join(cache, '.')).kernel).toEqual(own);
    expect(findKernel(cache, '7.0.0-own').kernel).toEqual(own);
  });

  it('that is not built is refused with the command that builds it', () => {
    const refused = (name?: string) => {
      try {
        return findKernel(cache, name);
      } catch (error) {
        return error;
      }
    };
    expect(refused()).toMatchObject({
      code: 'UNAVAILABLE',
      message: 'the lab has no kernel: no kernel is built',
      hint: 'build one, some minutes: cvmtrace lab build --kernel 6.12',
    });
    built('6.12');
    expect(refused('6.1')).toMatchObject({
      message: 'the lab has no kernel 6.1: built are: 6.12',
      hint: expect.stringContaining('lab build --kernel 6.1') as string,
    });
  });

  it('is outdated when the config has changed, but not if it has none of ours', () => {
    built('6.12', { configHash: 'of before' });
    built('6.1');
    built('/boot/vmlinuz', { configHash: '' });
    const outdated = (name: string) => findKernel(cache, name).outdated;
    expect(['6.12', '6.1', '/boot/vmlinuz'].map(outdated)).toEqual([true, false, false]);
  });
});
