import { cacheFolder } from '../cache.ts';
import { findKernel } from '../find-kernel.ts';
import { DEBIAN_RELEASES } from '../source.ts';

/** Before all tests: says what to do where a kernel is not built, instead of failing in each of them. */
export default function assertKernels(): void {
  for (const release of DEBIAN_RELEASES) findKernel(cacheFolder(process.env), release);
}
