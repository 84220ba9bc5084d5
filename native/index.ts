/**
 * native/: executes and times kernel calls. `core/` is C++ without N-API, `binding/` the thin layer over it, this file the lazy loader: nothing
 * is loaded before the first capture or replay, so that analysis works on a machine without a compiler.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { CvmtraceError } from './error.ts';
import type { Native } from './native.ts';
import { PACKAGE_ROOT } from './package-root.ts';

export * from './error.ts';
export * from './native.ts';
export * from './op-batch.ts';
export * from './ops.ts';
export * from './package-root.ts';

const ADDON = join(PACKAGE_ROOT, 'native', 'build', 'cvmtrace.node');

let loaded: Native | undefined;

/**
 * The addon.
 * @throws CvmtraceError UNAVAILABLE if it was not built or cannot be loaded.
 */
export function loadNative(): Native {
  if (loaded) return loaded;
  try {
    loaded = createRequire(import.meta.url)(ADDON) as Native;
    return loaded;
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'MODULE_NOT_FOUND';
    throw new CvmtraceError(
      'UNAVAILABLE',
      missing ? `the native addon is not built: ${ADDON}` : `the native addon cannot be loaded: ${String(cause)}`,
      { hint: 'install make and g++, then run: npm run build:native', cause },
    );
  }
}
