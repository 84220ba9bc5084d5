/** A VM whose vCPUs run the guest program, for tests. */
import { closeSync, openSync, readSync } from 'node:fs';
import type { ExecutedBatch, ExecuteOptions, NativeSession, OpName, Operands } from '../index.ts';
import { loadNative } from '../index.ts';
import { MIB, openSession, rowsOf, wordsOf, type Row } from './rows.ts';

// Numbers of objects.
export const [VM, GMEM, RAM, PROGRAM, SPARE, FIRST_VCPU] = [1, 2, 3, 4, 5, 10] as const;
/** Guest memory is at gpa 0, in slot 0. The guest program is at 4 GiB, in slot 1. */
export const MEMORY = 16 * MIB;
export const PROGRAM_GPA = 2 ** 32;
export const GUEST_MEMFD_SLOT = 4;
/** Attribute of private memory, and the hypercall's. */
export const [PRIVATE, HYPERCALL_PRIVATE] = [8, 16] as const;

export type Operation = readonly [OpName, Operands];

/** A type of VM that has private memory is given it for all of its memory. */
export interface Guest {
  readonly session: NativeSession;
  /** Operations of the VMM alone. */
  readonly perform: (operations: readonly Operation[]) => Promise<Row[]>;
  /** A batch for each vCPU from the first. */
  readonly run: (batches: readonly (readonly Operation[])[], options?: ExecuteOptions) => Promise<ExecutedBatch[]>;
  /** First 8 bytes of the page at `gpa` on the shared side, as a number. */
  readonly readShared: (gpa: number) => number;
}

/** A VM of that type with that many vCPUs, closed when the test is over. */
export async function openGuest(vmType: number, vcpus: number): Promise<Guest> {
  const session = openSession();
  const perform = async (operations: readonly Operation[]) => rowsOf(await session.execute(wordsOf(operations)));
  const bytes = loadNative().guestMemoryBytes(PROGRAM_GPA, vcpus);
  const hasPrivate = vmType !== 0;
  const setUp = await perform([
    ['kvm_create_vm', { obj: VM, attrs: vmType }],
    ['ram_create', { obj: RAM, len: MEMORY, flags: 1 }],
    ...(hasPrivate
      ? ([
          ['kvm_create_guest_memfd', { obj: GMEM, peer: VM, len: MEMORY, flags: 0 }],
          ['kvm_set_user_memory_region2', { ...slot(0, 0, MEMORY), flags: GUEST_MEMFD_SLOT }],
        ] as const)
      : ([
          ['kvm_set_user_memory_region', { obj: VM, gpa: 0, len: MEMORY, offset: 0, attrs: 0, flags: 0, peer: RAM }],
        ] as const)),
    ['ram_create', { obj: PROGRAM, len: bytes, flags: 0 }],
    [
      'kvm_set_user_memory_region',
      { obj: VM, gpa: PROGRAM_GPA, len: bytes, offset: 0, attrs: 1, flags: 0, peer: PROGRAM },
    ],
    ...Array.from(
      { length: vcpus },
      (_, vcpu) => ['kvm_create_vcpu', { obj: FIRST_VCPU + vcpu, peer: VM, vcpu }] as const,
    ),
  ]);
  const failed = setUp.find(({ errno }) => errno !== 0);
  if (failed) throw new Error(`${failed.op ?? ''}: ${loadNative().errnoName(failed.errno ?? 0)}`);
  const hva = setUp.find(({ op, obj }) => op === 'ram_create' && obj === RAM)?.hva ?? 0;

  return {
    session,
    perform,
    run: (batches, options) =>
      session.runGuest(
        {
          vm: VM,
          memory: { obj: PROGRAM, gpa: PROGRAM_GPA },
          vcpus: batches.map((operations, vcpu) => ({ obj: FIRST_VCPU + vcpu, words: wordsOf(operations) })),
        },
        options,
      ),
    readShared: (gpa) => {
      const memory = openSync('/proc/self/mem', 'r');
      const bytes = Buffer.alloc(8);
      readSync(memory, bytes, 0, 8, hva + gpa);
      closeSync(memory);
      return Number(bytes.readBigUInt64LE());
    },
  };
}

/** Operands of a slot with a private side, in which gpa and offset are the same but for `gpa - offset`. */
export function slot(number: number, gpa: number, len: number, offset = gpa): Operands {
  return { obj: VM, gpa, len, offset, attrs: number + GMEM * 2 ** 32, flags: GUEST_MEMFD_SLOT, peer: RAM };
}

/** The guest asks for a range to become private or shared, and the VMM does so. */
export function convert(gpa: number, len: number, to: 'private' | 'shared', vcpu = 0): Operation[] {
  const isPrivate = to === 'private';
  return [
    ['exit_map_gpa_range', { gpa, len, attrs: isPrivate ? HYPERCALL_PRIVATE : 0, vcpu, peer: 1 }],
    ['kvm_set_memory_attributes', { obj: VM, gpa, len, attrs: isPrivate ? PRIVATE : 0, flags: 0 }],
  ];
}

export function touch(gpa: number, len: number, write: boolean, vcpu = 0): Operation {
  return ['guest_touch', { gpa, len, flags: write ? 1 : 0, vcpu }];
}
