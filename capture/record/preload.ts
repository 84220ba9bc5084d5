import { existsSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CvmtraceError, PACKAGE_ROOT } from '../../native/index.ts';
import type { Environment } from './control-folder.ts';

/** Where the library that records a process from inside is built (native/preload/). */
export const RECORD_LIBRARY = join(PACKAGE_ROOT, 'native', 'build', 'libcvmtrace-record.so');

/** Names the recording's memory to the library. */
export const AREA_VARIABLE = 'CVMTRACE_RECORD';

/** A name for the library that LD_PRELOAD can hold. */
export interface PreloadName {
  readonly path: string;
  remove(): void;
}

/**
 * LD_PRELOAD has no way to quote a blank or a colon, and the dynamic linker expands $ (ld.so(8)): a path with one of them is given as a link.
 * @param linkFolder without such characters
 * @throws CvmtraceError UNAVAILABLE if the library is not built, or would need a link and there is no folder for it
 */
export function namePreload(linkFolder: string | undefined, library = RECORD_LIBRARY): PreloadName {
  if (!existsSync(library)) {
    throw new CvmtraceError('UNAVAILABLE', `the recording library is not built: ${library}`, {
      hint: 'install make and g++, then run: npm run build:native',
    });
  }
  if (!/[\s:$]/.test(library)) return { path: library, remove: () => undefined };
  if (linkFolder === undefined || /[\s:$]/.test(linkFolder)) {
    throw new CvmtraceError('UNAVAILABLE', `LD_PRELOAD cannot name ${library}`, {
      hint: 'install cvmtrace in a folder without blanks, colons and $ in its path',
    });
  }
  const link = join(linkFolder, `${process.pid}.so`);
  rmSync(link, { force: true });
  symlinkSync(library, link);
  return { path: link, remove: () => rmSync(link, { force: true }) };
}

/** The environment in which a program records itself; what was preloaded before still is. */
export function recordedEnvironment(env: Environment, library: string, areaPath: string): Environment {
  const others = (env['LD_PRELOAD'] ?? '').split(/[\s:]+/).filter((name) => name !== '' && name !== library);
  return { ...env, LD_PRELOAD: [library, ...others].join(':'), [AREA_VARIABLE]: areaPath };
}
