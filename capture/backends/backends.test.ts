import { describe, expect, it } from 'vitest';
import { CvmtraceError, loadNative, type Native, OP_STRIDE, OpBatch, OPS } from '../../native/index.ts';
import { hostWith } from '../testing/fake-host.ts';
import type { Backend, MemoryLayout } from './backend.ts';
import { BACKENDS, openBackend } from './index.ts';
import { withGuest } from './with-guest.ts';

const SLOT = { gpa: 0, len: 2 ** 20, offset: 0 };
const native = loadNative();
const { attempts } = native.probeHost();

async function refusal(name: string, host: Native): Promise<CvmtraceError> {
  return refused(openBackend(name, host));
}

async function refused(opening: Promise<Backend>): Promise<CvmtraceError> {
  const error: unknown = await opening.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof CvmtraceError) return error;
  throw new Error('it was not refused');
}

/** What setting a backend up executes: operations by name, with their flags. */
function setUpOf(backend: Backend, layout: MemoryLayout = { slots: [SLOT] }): { op: string; flags: number }[] {
  const batch = new OpBatch();
  backend.setUp(batch, layout);
  return Array.from({ length: batch.count }, (_, row) => {
    const [code = 0, , , , , , flags = NaN] = batch.words.subarray(row * OP_STRIDE);
    return { op: OPS[code] ?? '', flags };
  });
}

describe('backends', () => {
  it.skipIf(attempts['gmem.create.0']?.errno !== 0)('guest-memfd can do what the probe found', async () => {
    const backend = await openBackend('guest-memfd', native);
    expect(backend.abilities.privateTouch).toBe(attempts['gmem.touch']?.errno === 0);
    expect(backend.abilities.attributes).toBe(attempts['kvm.vm.0.set_memory_attributes']?.errno === 0);
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

  it('sw-protected leaves out what a kernel before 6.18 cannot do', async () => {
    const missing = ['gmem_touch', 'kvm_set_memory_attributes2', 'kvm_pre_fault_memory'];
    const backend = await openBackend(
      'sw-protected',
      hostWith((op) => (missing.includes(op) ? 19 : 0), { 19: 'ENODEV' }),
    );
    expect(backend).toMatchObject({
      vmType: 'sw-protected',
      abilities: { attributes: true, privateTouch: false, inPlace: false, preFault: false },
    });
    expect(backend.leftOut.map(({ step }) => step)).toEqual(['private-touch', 'vcpu-exit']);
  });

  it('has no attributes where the VM does not offer them', async () => {
    const host = hostWith((op) => (op === 'kvm_check_extension' ? 25 : 0), { 25: 'ENOTTY' });
    const backend = await openBackend('guest-memfd', host);
    expect(backend.abilities.attributes).toBe(false);
    expect(backend.leftOut.map(({ step }) => step)).toContain('attributes');
  });

  it('has the abilities that were tried', async () => {
    const { abilities } = await openBackend(
      'sw-protected',
      hostWith(() => 0),
    );
    expect(abilities).toMatchObject({ attributes: true, privateTouch: true, inPlace: true, preFault: true });
  });

  it('asks for a guest_memfd that can be mapped, and takes one that cannot', async () => {
    const flagsOf = async (refuses: number) => {
      const host = hostWith((op, _, flags) => (op === 'kvm_create_guest_memfd' && flags === refuses ? 22 : 0));
      return setUpOf(await openBackend('guest-memfd', host)).find(({ op }) => op === 'kvm_create_guest_memfd')?.flags;
    };
    expect(await flagsOf(NaN)).toBe(3);
    expect(await flagsOf(3)).toBe(0);
  });

  it('auto takes sw-protected, then guest-memfd, then the stand-in', async () => {
    const chosen = async (refuses: readonly number[]) => {
      const host = hostWith((op, type) => (op === 'kvm_create_vm' && refuses.includes(type) ? 22 : 0));
      return (await openBackend('auto', host)).name;
    };
    expect(await chosen([])).toBe('sw-protected');
    expect(await chosen([1])).toBe('guest-memfd');
    expect(await chosen([0, 1])).toBe('two-memfd');
  });

  it.each([
    ['snp', 4],
    ['tdx', 5],
  ])('%s makes a VM of its type and says that it was not verified', async (name, type) => {
    const host = hostWith((op, attrs) => (op === 'kvm_create_vm' && attrs !== type ? 22 : 0), { 22: 'EINVAL' });
    const backend = await openBackend(name, host);
    expect(backend).toMatchObject({ vmType: name, standIn: false });
    expect(backend.leftOut[0]?.step).toBe('hardware');
    const error = await refusal(
      name,
      hostWith((op) => (op === 'kvm_create_vm' ? 22 : 0), { 22: 'EINVAL' }),
    );
    expect(error.hint).toContain('cvmtrace probe');
  });

  it('with slots on a fault, sets all memory private and gives the VM no slot', async () => {
    const backend = await openBackend(
      'sw-protected',
      hostWith(() => 0),
    );
    const operations = (slotsOnFault: boolean) => setUpOf(backend, { slots: [SLOT], slotsOnFault }).map(({ op }) => op);
    expect(operations(false).at(-1)).toBe('kvm_set_user_memory_region2');
    expect(operations(true).at(-1)).toBe('kvm_set_memory_attributes');
    expect(operations(true)).not.toContain('kvm_set_user_memory_region2');
  });

  it('refuses an unknown name and lists the valid ones', async () => {
    const error = await refusal('guest-memfb', native);
    expect(error.code).toBe('USAGE');
    expect(error.hint).toContain('guest-memfd');
    for (const { name } of BACKENDS) expect(error.hint).toContain(name);
  });
});

describe('a guest that runs', () => {
  const WORKING = hostWith(() => 0);

  it('does what was left out for want of it, on vCPUs of its own', async () => {
    const backend = await openBackend(
      'sw-protected',
      hostWith((op) => (op === 'gmem_touch' ? 14 : 0), { 14: 'EFAULT' }),
    );
    const running = await withGuest(backend, WORKING, 3);
    expect(running.abilities.privateTouch).toBe(true);
    expect(running.leftOut).toEqual([]);
    expect(setUpOf(running).filter(({ op }) => op === 'kvm_create_vcpu')).toHaveLength(3);
  });

  it('has its program above all memory, in whole GiB', async () => {
    const { guest } = await withGuest(await openBackend('sw-protected', WORKING), WORKING, 1);
    expect(guest?.programGpa([SLOT])).toBe(2 ** 30);
    expect(guest?.programGpa([SLOT, { gpa: 2 ** 32, len: 2 ** 30 + 4096, offset: 0 }])).toBe(6 * 2 ** 30);
  });

  it.each([0, 257])('cannot have %i vCPUs', async (vcpus) => {
    const error = await refused(withGuest(await openBackend('sw-protected', WORKING), WORKING, vcpus));
    expect(error).toMatchObject({ code: 'USAGE', hint: 'from 1 to 256' });
  });

  it('needs a VM', async () => {
    const error = await refused(withGuest(await openBackend('two-memfd', native), native, 1));
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect(error.hint).toContain('--backend sw-protected');
  });

  it('says which call fails where no vCPU can be made, and why it does not run', async () => {
    const backend = await openBackend('sw-protected', WORKING);
    const noVcpu = hostWith((op) => (op === 'kvm_create_vcpu' ? 12 : 0), { 12: 'ENOMEM' });
    expect((await refused(withGuest(backend, noVcpu, 1))).message).toBe('a guest cannot be made here: ENOMEM');
    const broken = hostWith(
      () => 0,
      {},
      () => Promise.reject(new Error('KVM_RUN: EFAULT')),
    );
    expect(await refused(withGuest(backend, broken, 1))).toMatchObject({
      code: 'UNAVAILABLE',
      message: 'a guest does not run here: KVM_RUN: EFAULT',
    });
  });
});
