/** Programs and headers that the lab needs, and the Debian packages that have them. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { CvmtraceError } from '../../native/index.ts';

export interface Need {
  /** A program on the PATH, or the path of a file. */
  readonly file: string;
  readonly package: string;
}

/** To build a kernel. */
export const BUILD_NEEDS: readonly Need[] = [
  { file: 'make', package: 'make' },
  { file: 'gcc', package: 'gcc' },
  { file: 'ld', package: 'binutils' },
  { file: 'flex', package: 'flex' },
  { file: 'bison', package: 'bison' },
  { file: 'bc', package: 'bc' },
  { file: 'perl', package: 'perl' },
  { file: 'tar', package: 'tar' },
  { file: 'xz', package: 'xz-utils' },
  // objtool of the kernel is linked with libelf.
  { file: '/usr/include/libelf.h', package: 'libelf-dev' },
];

export const QEMU = 'qemu-system-x86_64';
export const RUN_NEEDS: readonly Need[] = [{ file: QEMU, package: 'qemu-system-x86' }];

/** Path of a program, or undefined. */
export function findProgram(name: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  return (env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(isProgram);
}

/** Packages of what is not there. */
export function missingPackages(
  needs: readonly Need[],
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const missing = needs.filter(({ file }) =>
    file.startsWith('/') ? !existsSync(file) : findProgram(file, env) === undefined,
  );
  return [...new Set(missing.map((need) => need.package))];
}

export function aptLine(packages: readonly string[]): string {
  return `apt-get install --no-install-recommends ${packages.join(' ')}`;
}

/** @throws CvmtraceError UNAVAILABLE with the one line that installs what is missing */
export function assertInstalled(packages: readonly string[], what: string): void {
  if (packages.length === 0) return;
  throw new CvmtraceError('UNAVAILABLE', `${what} needs what is not installed here: ${packages.join(', ')}`, {
    hint: `as root: ${aptLine(packages)}`,
  });
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
