import { CvmtraceError, type Native } from '../../native/index.ts';
import { unknownName } from '../unknown-name.ts';
import type { Backend, BackendKind } from './backend.ts';
import { guestMemfd } from './guest-memfd.ts';
import { twoMemfd } from './two-memfd.ts';

/** Best first: `auto` takes the first that this host can open. */
export const BACKENDS: readonly BackendKind[] = [guestMemfd, twoMemfd];

/**
 * Opens a backend by name, or the best that works for `auto`.
 * @throws CvmtraceError USAGE for an unknown name, UNAVAILABLE with the reason if the host cannot.
 */
export async function openBackend(name: string, native: Native): Promise<Backend> {
  if (name !== 'auto') {
    const kind = BACKENDS.find((candidate) => candidate.name === name);
    if (kind) return kind.open(native);
    throw unknownName('backend', name, ['auto', ...BACKENDS.map((candidate) => candidate.name)]);
  }
  const reasons: string[] = [];
  for (const kind of BACKENDS) {
    try {
      return await kind.open(native);
    } catch (error) {
      if (!(error instanceof CvmtraceError)) throw error;
      reasons.push(error.message);
    }
  }
  throw new CvmtraceError('UNAVAILABLE', `no backend works here: ${reasons.join('; ')}`, {
    hint: 'cvmtrace probe says more',
  });
}
