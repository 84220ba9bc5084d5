import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findSource, hashSource, imageRelease } from './source.ts';
import { fakeImage, FakeKernel } from './testing/fake-kernel.ts';

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-source-'));
  new FakeKernel(folder).tarball();
  writeFileSync(at('vmlinuz'), fakeImage());
  writeFileSync(at('text'), 'neither of them');
  writeFileSync(at('short'), fakeImage().subarray(0, 0x300));
  mkdirSync(at('empty'));
  mkdirSync(at('6.12-tree'));
  symlinkSync(at('linux'), at('link'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('what --kernel names', () => {
  it("is a release of Debian's", async () => {
    expect(await findSource('6.12')).toEqual({
      kind: 'tarball',
      name: '6.12',
      path: '/usr/src/linux-source-6.12.tar.xz',
      package: 'linux-source-6.12',
    });
  });

  it.each([
    ['linux', 'tree', 'linux'],
    ['link', 'tree', 'linux'],
    ['linux.tar', 'tarball', 'linux.tar'],
    ['vmlinuz', 'image', 'vmlinuz'],
    ['short', 'image', 'short'],
  ])('%s is a %s', async (name, kind, real) => {
    expect(await findSource(at(name))).toEqual({ kind, name: at(real), path: at(real) });
  });

  it.each([
    ['nothing', 'NO_INPUT', /neither a release, nor a file or folder/],
    ['text', 'USAGE', /no kernel tree, tarball or x86 bzImage/],
    ['empty', 'USAGE', /no kernel tree/],
    ['6.12-tree', 'USAGE', /no kernel tree/],
  ])('%s is none', async (name, code, message) => {
    const error: unknown = await findSource(at(name)).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
  });
});

it('content makes the hash of a file, the place that of a tree', async () => {
  const hashes = await Promise.all(['linux', 'linux.tar', 'vmlinuz'].map(async (name) => hashOf(name)));
  expect(new Set(hashes).size).toBe(3);
  writeFileSync(at('same'), fakeImage());
  expect(await hashOf('same')).toBe(await hashOf('vmlinuz'));
  writeFileSync(at('same'), fakeImage('other'));
  expect(await hashOf('same')).not.toBe(await hashOf('vmlinuz'));
  writeFileSync(at('linux/new.c'), '');
  expect(await hashOf('linux')).toBe(hashes[0]);
});

async function hashOf(name: string): Promise<string> {
  return hashSource(await findSource(at(name)));
}

describe('the release of a bzImage', () => {
  const release = (image: Buffer): Promise<string | null> => {
    writeFileSync(at('image'), image);
    return imageRelease(at('image'));
  };

  it('is the first word of its version', async () => {
    expect(await release(fakeImage('6.12.57-lab (root@host) #1 SMP'))).toBe('6.12.57-lab');
  });

  it('is unknown where the header does not say, or lies', async () => {
    const changed = (value: number): Buffer => {
      const image = fakeImage();
      image.writeUInt16LE(value, 0x20e);
      return image;
    };
    expect(await release(fakeImage(''))).toBeNull();
    expect(await release(changed(0))).toBeNull();
    expect(await release(changed(0xffff))).toBeNull();
    expect(await release(fakeImage().subarray(0, 0x300))).toBeNull();
  });
});
