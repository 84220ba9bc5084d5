import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PACKAGE_ROOT } from '../../../native/package-root.ts';

export type FixtureName = 'pvm-vm' | 'snp-host' | 'tdx-host' | 'qemu-tcg' | 'no-kvm';

/** Files by path: their text or bytes, or an empty file with these permission bits. */
export type Contents = Readonly<Record<string, string | Uint8Array | { readonly mode: number }>>;

/** The files of one of the hosts in testdata/. */
export function fixtureHost(name: FixtureName): Contents {
  const text = readFileSync(join(PACKAGE_ROOT, 'capture', 'host', 'testdata', `${name}.txt`), 'utf8');
  const sections = text.split(/^== (.*)\n/m).slice(1);
  return Object.fromEntries(
    sections.flatMap((path, index) => (index % 2 === 0 ? [[path, sections[index + 1] ?? '']] : [])),
  );
}

const roots = new Map<string, string>();

/** Root of one of those hosts, made once. Call `removeFixtureRoots` after the last test. */
export function fixtureRoot(name: FixtureName): string {
  const root = roots.get(name) ?? makeRoot(fixtureHost(name));
  roots.set(name, root);
  return root;
}

export function removeFixtureRoots(): void {
  for (const root of roots.values()) rmSync(root, { recursive: true, force: true });
  roots.clear();
}

/** Calls `use` with the root of a host that has these files, each as text or with permission bits, and removes it. */
export function withHost<T>(contents: Contents, use: (root: string) => T): T {
  const root = makeRoot(contents);
  try {
    return use(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function makeRoot(contents: Contents): string {
  const root = mkdtempSync(join(tmpdir(), 'cvmtrace-host-'));
  for (const [path, content] of Object.entries(contents)) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    const isData = typeof content === 'string' || content instanceof Uint8Array;
    writeFileSync(file, isData ? content : '');
    if (!isData) chmodSync(file, content.mode);
  }
  return root;
}
