import { CvmtraceError, type Native } from '../../native/index.ts';
import { unknownName } from '../unknown-name.ts';
import type { Backend, BackendKind } from './backend.ts';
import { guestMemfd } from './guest-memfd.ts';
import { swProtected } from './sw-protected.ts';
import { snp, tdx } from './tee.ts';
import { twoMemfd } from './two-memfd.ts';

/** Those that `auto` chooses from, best first: it takes the first that this host can open. */
const AUTOMATIC: readonly BackendKind[] = [swProtected, guestMemfd, twoMemfd];

export const BACKENDS: readonly BackendKind[] = [...AUTOMATIC, snp, tdx];

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
  const passedOver: { readonly name: string; readonly error: CvmtraceError }[] = [];
  for (const kind of AUTOMATIC) {
    try {
      return withReasons(await kind.open(native), passedOver);
    } catch (error) {
      if (!(error instanceof CvmtraceError)) throw error;
      passedOver.push({ name: kind.name, error });
    }
  }
  const reasons = passedOver.map(({ error }) => error.message);
  throw new CvmtraceError('UNAVAILABLE', `no backend works here: ${reasons.join('; ')}`, {
    hint: 'cvmtrace probe says more',
  });
}

/** What a backend leaves out because a better one does not work here says why, so that nobody has to guess. */
function withReasons(
  backend: Backend,
  passedOver: readonly { readonly name: string; readonly error: CvmtraceError }[],
): Backend {
  const leftOut = backend.leftOut.map((step) => {
    const error = passedOver.find(({ name }) => name === step.step)?.error;
    return error ? { ...step, reason: `${step.reason}, because ${error.message} (${error.hint ?? ''})` } : step;
  });
  return { ...backend, leftOut };
}
