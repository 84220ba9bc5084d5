import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mkdtempSync } from 'node:fs';
import { cacheFolder } from '../cache.ts';
import { findSource, hashSource, type KernelSource } from '../source.ts';

/** KVM's own tests of private memory and of slots (tools/testing/selftests/kvm), by the place of their binaries. */
export const SELFTESTS = [
  'guest_memfd_test',
  'memslot_perf_test',
  'pre_fault_memory_test',
  'x86_64/private_mem_conversions_test',
  'x86_64/private_mem_kvm_exits_test',
] as const;

/** What of the kernel's source their build reads. */
const PARTS = [
  'Kbuild',
  'Makefile',
  'arch/x86',
  'include',
  'scripts',
  'tools/arch',
  'tools/build',
  'tools/include',
  'tools/lib',
  'tools/scripts',
  'tools/testing/selftests/kselftest.h',
  'tools/testing/selftests/kselftest_harness.h',
  'tools/testing/selftests/kvm',
  'tools/testing/selftests/lib.mk',
  'tools/testing/selftests/rseq',
];

/**
 * Folder with the built tests of a Debian release's kernel, kept in the user's cache beside the lab's kernels. The first build takes about 20 s.
 * @throws Error if linux-source is not installed, or with what tar or make said
 */
export async function kvmSelftests(release = '6.12'): Promise<string> {
  const source = await findSource(release);
  if (source.kind !== 'tarball' || !existsSync(source.path)) {
    throw new Error(`KVM's selftests need its source: apt-get install linux-source-${release}`);
  }
  const folder = join(cacheFolder(process.env), `selftests-${release}-${(await hashSource(source)).slice(0, 16)}`);
  if (!existsSync(folder)) build(source, folder);
  return folder;
}

function build({ path, name }: KernelSource, folder: string): void {
  const work = mkdtempSync(join(tmpdir(), 'cvmtrace-selftests-'));
  try {
    const top = `linux-source-${name}`;
    run(['tar', 'xf', path, ...PARTS.map((part) => `${top}/${part}`)], work);
    const tree = join(work, top);
    run(['make', '-s', '-j2', 'headers'], tree);
    const out = join(work, 'out');
    mkdirSync(out);
    run(
      [
        ...['make', '-s', '-j2', 'ARCH=x86_64', `OUTPUT=${out}`, `top_srcdir=${tree}`],
        `KHDR_INCLUDES=-isystem ${tree}/usr/include`,
        ...SELFTESTS.map((test) => join(out, test)),
      ],
      join(tree, 'tools/testing/selftests/kvm'),
    );
    const ready = `${folder}.new`;
    rmSync(ready, { recursive: true, force: true });
    mkdirSync(join(ready, 'x86_64'), { recursive: true });
    for (const test of SELFTESTS) run(['install', '-s', join(out, test), join(ready, test)], work);
    renameSync(ready, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run([command = '', ...rest]: readonly string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(command, rest, { cwd, encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`${command} failed: ${error?.message ?? stderr.trim().split('\n').slice(-5).join('\n')}`);
}
