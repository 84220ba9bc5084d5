import { CvmtraceError } from '../../../native/index.ts';
import { cacheFolder } from '../cache.ts';
import { findKernel } from '../find-kernel.ts';
import { DEBIAN_RELEASES } from '../source.ts';

/** Before all tests: says what to do where a kernel is not built, instead of failing in each of them. */
export default function assertKernels(): void {
  try {
    for (const release of DEBIAN_RELEASES) findKernel(cacheFolder(process.env), release);
  } catch (error) {
    if (error instanceof CvmtraceError) throw new Error(`${error.message}; ${error.hint ?? ''}`, { cause: error });
    throw error;
  }
}
