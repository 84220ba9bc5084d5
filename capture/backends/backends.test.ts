import { describe, expect, it } from 'vitest';
import {
  CvmtraceError,
  loadNative,
  type ExecutedBatch,
  type Native,
  type NativeSession,
  OPS,
} from '../../native/index.ts';
import { BACKENDS, openBackend } from './index.ts';

const native = loadNative();
const { attempts } = native.probeHost();

/** A host on which operations fail with the given errnos. */
function hostWith(errnoOf: (op: string) => number, names: Readonly<Record<number, string>>): Native {
  const session: Pick<NativeSession, 'execute' | 'close'> = {
    execute: (words) => {
      const rows = words.length / 10;
      const errno = Uint16Array.from({ length: rows }, (_, row) => errnoOf(OPS[words[row * 10] ?? 0] ?? ''));
      return Promise.resolve({ rows, errno } as ExecutedBatch);
    },
    close: () => Promise.resolve(),
  };
  return {
    ...native,
    createSession: () => session as NativeSession,
    errnoName: (errno) => names[errno] ?? `E${errno}`,
  };
}

async function refusal(name: string, host: Native): Promise<CvmtraceError> {
  const error: unknown = await openBackend(name, host).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof CvmtraceError) return error;
  throw new Error('it was not refused');
}

describe('backends', () => {
  it.skipIf(attempts['gmem.create.0']?.errno !== 0)('guest-memfd can do what the probe found', async () => {
    const backend = await openBackend('guest-memfd', native);
    expect(backend.abilities.privateTouch).toBe(attempts['gmem.touch']?.errno === 0);
    expect(backend.abilities.attributes).toBe(
      [0, 1].some((type) => attempts[`kvm.vm.${type}.set_memory_attributes`]?.errno === 0),
    );
    const missing = backend.leftOut.map(({ step }) => step);
    expect(missing.includes('attributes')).toBe(!backend.abilities.attributes);
  });

  it('two-memfd works without KVM and says that it is a stand-in', async () => {
    const backend = await openBackend('two-memfd', native);
    expect(backend).toMatchObject({
      standIn: true,
      vmType: null,
      abilities: { privateKind: 'ram', attributes: false },
    });
    expect(backend.leftOut.map(({ step }) => step)).toContain('guest-memfd');
  });

  it.each([
    [2, 'ENOENT', 'no /dev/kvm'],
    [13, 'EACCES', 'group of /dev/kvm'],
  ])('says why there is no VM: errno %i', async (errno, name, hint) => {
    const host = hostWith((op) => (op === 'kvm_create_vm' ? errno : 9), { [errno]: name });
    const error = await refusal('guest-memfd', host);
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.message).toContain(name);
    expect(error.hint).toContain(hint);
  });

  it('auto falls back to the stand-in where there is no KVM', async () => {
    const host = hostWith((op) => (op.startsWith('kvm_') || op.startsWith('gmem_') ? 2 : 0), { 2: 'ENOENT' });
    const backend = await openBackend('auto', host);
    expect(backend.name).toBe('two-memfd');
    expect(backend.leftOut.find(({ step }) => step === 'guest-memfd')?.reason).toContain(
      'ENOENT (there is no /dev/kvm',
    );
  });

  it('uses a VM of type 1 where KVM offers one, and its attributes', async () => {
    // No mapping of the guest_memfd, as on kernels before 6.18.
    const host = hostWith((op) => (op === 'gmem_touch' ? 19 : 0), { 19: 'ENODEV' });
    const backend = await openBackend('guest-memfd', host);
    expect(backend).toMatchObject({ vmType: 'sw-protected', abilities: { attributes: true, privateTouch: false } });
    expect(backend.leftOut.map(({ step }) => step)).toContain('private-touch');
  });

  it('refuses an unknown name and lists the valid ones', async () => {
    const error = await refusal('guest-memfb', native);
    expect(error.code).toBe('USAGE');
    expect(error.hint).toContain('guest-memfd');
    for (const { name } of BACKENDS) expect(error.hint).toContain(name);
  });
});
