/**
 * A VM with slots whose shared side is a memfd mapping and whose private side is a guest_memfd, as a VMM for SNP or TDX has it
 * (Documentation/virt/kvm/api.rst: KVM_CREATE_GUEST_MEMFD, KVM_SET_USER_MEMORY_REGION2, KVM_SET_MEMORY_ATTRIBUTES). What differs between the backends
 * made of it is the type of the VM.
 */
import { type Native, type OpName, type Operands, RamFlag } from '../../native/index.ts';
import { MEMORY_PRIVATE, PAGE_BYTES } from '../request.ts';
import type { LeftOutStep, SlotRange } from '../trace/metadata.ts';
import { type Backend, type MemoryLayout, ObjectNumber, slotsEnd } from './backend.ts';
import { type Tried, tryOperations, unavailable } from './trial.ts';

/** One operation with its operands and, for rows that have one, its text. */
export type Operation = readonly [OpName, Operands, string?];

export interface VmKind {
  readonly name: string;
  readonly summary: string;
  /** Argument of KVM_CREATE_VM. */
  readonly type: number;
  /** As of `GuestInfo.vmType`. */
  readonly typeName: string;
  /** What such a VM needs after it was made, before its memory. */
  readonly initialize?: readonly Operation[];
  /** What to do where the VM cannot be made, by errno's name. */
  readonly hints?: Readonly<Record<string, string>>;
  /** What a trace from it should say. */
  readonly leftOut?: readonly LeftOutStep[];
}

/** KVM_MEM_GUEST_MEMFD of linux/kvm.h. */
const KVM_MEM_GUEST_MEMFD = 4;
/** GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED: what a host mapping needs that can be touched. */
const MMAP_INIT_SHARED = 3;
const SLOT_OBJECT = 2 ** 32;
/** Its value is the mask of attributes that the VM has. */
const KVM_CAP_MEMORY_ATTRIBUTES = 233;

const DEVICE_HINTS = {
  ENOENT:
    'there is no /dev/kvm: load the kvm module; --backend two-memfd is a stand-in, cvmtrace lab has an emulated one',
  EACCES: 'add yourself to the group of /dev/kvm (usermod -aG kvm USER); --backend two-memfd is a stand-in',
  EPERM: 'add yourself to the group of /dev/kvm (usermod -aG kvm USER); --backend two-memfd is a stand-in',
} as const;

/**
 * Tries with one page what a VM of that type can do here.
 * @throws CvmtraceError UNAVAILABLE if it cannot be made, or has no guest_memfd
 */
export async function openGmemVm(native: Native, kind: VmKind): Promise<Backend> {
  const { name, typeName } = kind;
  const hints = { ...DEVICE_HINTS, ...kind.hints };
  const whole = { gpa: 0, offset: 0, len: PAGE_BYTES };
  let problem: { readonly tried: Tried; readonly what: string } | undefined;
  // A VM with private memory refuses INIT_SHARED up to 7.3, and kernels before 6.18 know no flag at all.
  for (const gmemFlags of [MMAP_INIT_SHARED, 0]) {
    const made = memoryOperations({ slots: [whole] }, kind, gmemFlags);
    const tried = await tryOperations(native, [
      ...made,
      // Asked, not tried: a run makes no attribute call but those of its trace, so that a count from outside is the same.
      ['kvm_check_extension', { obj: ObjectNumber.vm, attrs: KVM_CAP_MEMORY_ATTRIBUTES }],
      ['gmem_allocate', { obj: ObjectNumber.private, ...whole }],
      ['gmem_touch', { obj: ObjectNumber.private, ...whole, flags: 1 }],
      ['gmem_punch_hole', { obj: ObjectNumber.private, ...whole }],
      ['kvm_set_memory_attributes2', { obj: ObjectNumber.private, ...whole, attrs: MEMORY_PRIVATE, flags: 0 }],
      ['kvm_create_vcpu', { obj: ObjectNumber.vcpu, peer: ObjectNumber.vm, vcpu: 0 }],
      ['kvm_pre_fault_memory', { obj: ObjectNumber.vcpu, gpa: 0, len: PAGE_BYTES }],
    ]);
    const [vm] = tried;
    const [attributes, allocate, touch, punch, inPlace, , preFault] = tried.slice(made.length);
    if (!vm || !attributes || !allocate || !touch || !punch || !inPlace || !preFault)
      throw new Error('a row for each operation');
    if (vm.errno !== 0) throw unavailable(name, vm, `cannot make a VM of type ${typeName}`, hints);
    const failed = [...tried.slice(1, made.length), allocate, punch].find(({ errno }) => errno !== 0);
    if (failed) {
      problem = { tried: failed, what: `this KVM gives a VM of type ${typeName} no guest_memfd` };
      continue;
    }
    return {
      name,
      summary: kind.summary,
      standIn: false,
      vmType: typeName,
      guest: null,
      dma: null,
      abilities: {
        attributes: (attributes.result & MEMORY_PRIVATE) !== 0,
        inPlace: inPlace.errno === 0,
        preFault: preFault.errno === 0,
        privateTouch: touch.errno === 0,
        privateKind: 'gmem',
        sharedFile: true,
      },
      leftOut: [...(kind.leftOut ?? []), ...whatIsLeftOut(typeName, attributes, touch)],
      setUp(batch, layout) {
        for (const [op, operands, detail] of memoryOperations(layout, kind, gmemFlags))
          batch.push(op, operands, detail);
      },
    };
  }
  if (!problem) throw new Error('the last flags either work or have a problem');
  throw unavailable(name, problem.tried, problem.what, hints);
}

/** The slot of a range, given to the VM with both its sides. */
export function slotOperands(slot: SlotRange, number: number): Operands {
  return {
    obj: ObjectNumber.vm,
    ...slot,
    attrs: number + ObjectNumber.private * SLOT_OBJECT,
    flags: KVM_MEM_GUEST_MEMFD,
    peer: ObjectNumber.shared,
  };
}

function memoryOperations({ slots, slotsOnFault = false }: MemoryLayout, kind: VmKind, gmemFlags: number): Operation[] {
  const len = slotsEnd(slots);
  return [
    ['kvm_create_vm', { obj: ObjectNumber.vm, attrs: kind.type }],
    ...(kind.initialize ?? []),
    ['kvm_create_guest_memfd', { obj: ObjectNumber.private, len, flags: gmemFlags, peer: ObjectNumber.vm }],
    ['ram_create', { obj: ObjectNumber.shared, len, flags: RamFlag.memfd }, 'shared'],
    ...slots.map((slot, number): Operation =>
      slotsOnFault
        ? [
            'kvm_set_memory_attributes',
            { obj: ObjectNumber.vm, gpa: slot.gpa, len: slot.len, attrs: MEMORY_PRIVATE, flags: 0 },
          ]
        : ['kvm_set_user_memory_region2', slotOperands(slot, number)],
    ),
  ];
}

function whatIsLeftOut(typeName: string, attributes: Tried, touch: Tried): LeftOutStep[] {
  return [
    ...((attributes.result & MEMORY_PRIVATE) !== 0
      ? []
      : [
          {
            step: 'attributes',
            reason: `a VM of type ${typeName} has no memory attributes here (KVM_CAP_MEMORY_ATTRIBUTES)`,
          },
        ]),
    touch.errno === 0
      ? {
          step: 'guest-fault',
          reason: 'private pages are touched through a host mapping of the guest_memfd, not by a guest',
        }
      : {
          step: 'private-touch',
          errno: touch.errnoName,
          reason: 'this guest_memfd cannot be mapped and no guest runs, so nothing touches private pages',
        },
    {
      step: 'vcpu-exit',
      reason: 'no guest runs: a stall has neither the exit nor the entry of a vCPU in it',
    },
  ];
}
