import { CvmtraceError, type Native, OpBatch } from '../../native/index.ts';
import type { SlotRange } from '../trace/metadata.ts';
import { PAGE_BYTES } from '../request.ts';
import { type Backend, type GuestSetting, ObjectNumber, slotsTop } from './backend.ts';

/** The guest program starts at a multiple of it, above all memory. */
const PROGRAM_ALIGNMENT = 2 ** 30;
/** Steps that a guest that runs does after all. */
const DONE_BY_A_GUEST: ReadonlySet<string> = new Set(['vcpu-exit', 'guest-fault', 'private-touch']);
const MAX_VCPUS = 256;

/**
 * The backend with a guest that runs: each vCPU performs its requests itself, and the exits are KVM's own. One is run with nothing to do, to see that
 * it works.
 * @throws CvmtraceError USAGE for a number of vCPUs that cannot be, UNAVAILABLE if there is no VM, or its guest does not run
 */
export async function withGuest(backend: Backend, native: Native, vcpus: number): Promise<Backend> {
  if (vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new CvmtraceError('USAGE', `--vcpus cannot be ${vcpus}`, { hint: `from 1 to ${MAX_VCPUS}` });
  }
  if (backend.vmType === null) {
    throw new CvmtraceError('UNAVAILABLE', `backend ${backend.name} has no VM in which a guest could run`, {
      hint: 'a guest needs KVM: --backend sw-protected, in cvmtrace lab if not here',
    });
  }
  const guest: GuestSetting = {
    vcpus,
    programGpa: (slots) => Math.ceil(slotsTop(slots) / PROGRAM_ALIGNMENT) * PROGRAM_ALIGNMENT,
  };
  const made: Backend = {
    ...backend,
    guest,
    abilities: { ...backend.abilities, privateTouch: true },
    leftOut: backend.leftOut.filter(({ step }) => !DONE_BY_A_GUEST.has(step)),
    setUp(batch, layout) {
      backend.setUp(batch, layout);
      const gpa = guest.programGpa(layout.slots);
      const len = native.guestMemoryBytes(gpa, vcpus);
      batch.push('ram_create', { obj: ObjectNumber.program, len, flags: 0 }, 'program');
      batch.push('kvm_set_user_memory_region', {
        obj: ObjectNumber.vm,
        gpa,
        len,
        offset: 0,
        // Slots of guest memory are counted from 0, and those that a fault brings follow them.
        attrs: PROGRAM_SLOT,
        flags: 0,
        peer: ObjectNumber.program,
      });
      for (let vcpu = 0; vcpu < vcpus; vcpu++)
        batch.push('kvm_create_vcpu', { obj: ObjectNumber.vcpu + vcpu, peer: ObjectNumber.vm, vcpu });
    },
  };
  await tryGuest(made, native);
  return made;
}

/** Slot of the guest program: the last of those that every KVM has (KVM_USER_MEM_SLOTS is 32764 on x86). */
const PROGRAM_SLOT = 32_000;

/** How the session is to run a backend's guest. */
export function guestPlan(
  guest: GuestSetting,
  slots: readonly SlotRange[],
): { readonly vm: number; readonly memory: { readonly obj: number; readonly gpa: number } } {
  return { vm: ObjectNumber.vm, memory: { obj: ObjectNumber.program, gpa: guest.programGpa(slots) } };
}

async function tryGuest(backend: Backend, native: Native): Promise<void> {
  const { guest } = backend;
  if (!guest) throw new Error('the backend has a guest');
  const slots = [{ gpa: 0, len: PAGE_BYTES, offset: 0 }];
  const session = native.createSession();
  try {
    const setUp = new OpBatch();
    backend.setUp(setUp, { slots });
    const { errno } = await session.execute(setUp.words, { stopAtFailure: true });
    const failed = errno.find((number) => number !== 0);
    if (failed !== undefined) {
      throw new CvmtraceError('UNAVAILABLE', `a guest cannot be made here: ${native.errnoName(failed)}`, {
        hint: 'cvmtrace probe says what this KVM can do; cvmtrace lab has one that can',
      });
    }
    const idle = new OpBatch();
    // The hypercall itself: not every KVM knows the instruction that the guest takes for it.
    idle.push('exit_map_gpa_range', { gpa: 0, len: PAGE_BYTES, attrs: 0, vcpu: 0 });
    await session.runGuest({ ...guestPlan(guest, slots), vcpus: [{ obj: ObjectNumber.vcpu, words: idle.words }] });
  } catch (cause) {
    if (cause instanceof CvmtraceError) throw cause;
    throw new CvmtraceError(
      'UNAVAILABLE',
      `a guest does not run here: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: 'this KVM may be too restricted (nested, or without hardware virtualisation): cvmtrace lab has one that can',
        cause,
      },
    );
  } finally {
    await session.close();
  }
}
