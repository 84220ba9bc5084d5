import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CvmtraceError, PACKAGE_ROOT } from '../../native/index.ts';

/** The config fragment, beside this file in the sources. */
export const CONFIG_FRAGMENT = join(PACKAGE_ROOT, 'bench/lab/kernel.config');

/** Releases of Debian's linux-source packages that the lab is tested with. */
export const DEBIAN_RELEASES = ['6.12', '6.1'] as const;

/** What `--kernel` names. */
export type KernelSource =
  | { readonly kind: 'tarball'; readonly name: string; readonly path: string; readonly package?: string }
  | { readonly kind: 'tree'; readonly name: string; readonly path: string }
  | { readonly kind: 'image'; readonly name: string; readonly path: string };

/** Where "HdrS" is in a bzImage, and where it keeps the place of its version text (Documentation/arch/x86/boot.rst). */
const HEADER_MAGIC = { at: 0x202, text: 'HdrS' } as const;
const VERSION_POINTER = 0x20e;
const SETUP_BYTES = 0x8000;

/**
 * Finds out what `--kernel` means, by looking.
 * @throws CvmtraceError USAGE for something that is no kernel, NO_INPUT for a path that is not there
 */
export async function findSource(name: string): Promise<KernelSource> {
  if (/^\d+\.\d+$/.test(name) && !existsSync(name)) {
    return { kind: 'tarball', name, path: `/usr/src/linux-source-${name}.tar.xz`, package: `linux-source-${name}` };
  }
  if (!existsSync(name)) {
    throw new CvmtraceError('NO_INPUT', `no kernel ${name}: neither a release, nor a file or folder`, {
      hint: `give a release of Debian's (${DEBIAN_RELEASES.join(', ')}), a kernel tree, a tarball or a bzImage`,
    });
  }
  const path = realpathSync(name);
  if (statSync(path).isDirectory()) {
    if (existsSync(join(path, 'Kconfig')) && existsSync(join(path, 'arch/x86')))
      return { kind: 'tree', name: path, path };
  } else if (/\.tar(\.\w+)?$|\.t[gx]z$/.test(path)) {
    return { kind: 'tarball', name: path, path };
  } else if (await isImage(path)) {
    return { kind: 'image', name: path, path };
  }
  throw new CvmtraceError('USAGE', `${name} is no kernel tree, tarball or x86 bzImage`, {
    hint: 'a tree has Kconfig and arch/x86; a tarball ends in .tar, .tar.xz, .tar.gz or .tar.zst; a bzImage is arch/x86/boot/bzImage',
  });
}

/** Hash of the source's content; of a tree its place, as make itself sees what changed in it. */
export async function hashSource(source: KernelSource): Promise<string> {
  const hash = createHash('sha256').update(source.kind);
  if (source.kind === 'tree') hash.update(source.path);
  else await pipeline(createReadStream(source.path), hash);
  return hash.digest('hex');
}

export function hashConfig(): string {
  return createHash('sha256').update(readFileSync(CONFIG_FRAGMENT)).digest('hex');
}

/** `uname -r` of a bzImage, from its header; null if that has none. */
export async function imageRelease(path: string): Promise<string | null> {
  const header = await readHeader(path);
  if (header.length < SETUP_BYTES / 2) return null;
  const pointer = header.readUInt16LE(VERSION_POINTER);
  if (pointer === 0) return null;
  const at = pointer + 0x200;
  const end = header.indexOf(0, at);
  const text = header.subarray(at, end < 0 ? at : end).toString('latin1');
  return text.split(' ')[0] || null;
}

async function isImage(path: string): Promise<boolean> {
  const header = await readHeader(path);
  return header.toString('latin1', HEADER_MAGIC.at, HEADER_MAGIC.at + HEADER_MAGIC.text.length) === HEADER_MAGIC.text;
}

async function readHeader(path: string): Promise<Buffer> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(SETUP_BYTES), 0, SETUP_BYTES, 0);
  return buffer.subarray(0, bytesRead);
}
