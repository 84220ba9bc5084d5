import { existsSync, realpathSync } from 'node:fs';
import { CvmtraceError } from '../../native/index.ts';
import { type LabKernel, listKernels } from './cache.ts';
import { DEBIAN_RELEASES, hashConfig } from './source.ts';

export interface ChosenKernel {
  readonly kernel: LabKernel;
  /** True if the config fragment has changed since it was built. */
  readonly outdated: boolean;
}

/**
 * The kernel to run: the newest built one of that name; without a name the first of Debian's releases that is built, else the newest of all.
 * @throws CvmtraceError UNAVAILABLE if there is none, with the command that builds it
 */
export function findKernel(cache: string, name: string | undefined): ChosenKernel {
  const kernels = listKernels(cache);
  const names = name === undefined ? DEBIAN_RELEASES : [name, ...(existsSync(name) ? [realpathSync(name)] : [])];
  const kernel =
    names
      .map((wanted) => kernels.find((candidate) => candidate.name === wanted))
      .find((found) => found !== undefined) ??
    (name === undefined ? kernels[0] : kernels.find((candidate) => candidate.release === name));
  if (!kernel) {
    const wanted = name ?? DEBIAN_RELEASES[0];
    const built = kernels.length === 0 ? 'no kernel is built' : `built are: ${kernels.map((k) => k.name).join(', ')}`;
    throw new CvmtraceError('UNAVAILABLE', `the lab has no kernel${name === undefined ? '' : ` ${name}`}: ${built}`, {
      hint: `build one, some minutes: cvmtrace lab build --kernel ${wanted}`,
    });
  }
  return { kernel, outdated: kernel.configHash !== '' && kernel.configHash !== hashConfig() };
}
