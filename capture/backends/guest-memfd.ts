/**
 * A VM with a slot whose shared side is a memfd mapping and whose private side is a guest_memfd, as a VMM for SNP or TDX has it
 * (Documentation/virt/kvm/api.rst: KVM_CREATE_GUEST_MEMFD, KVM_SET_USER_MEMORY_REGION2, KVM_SET_MEMORY_ATTRIBUTES).
 */
import { RamFlag } from '../../native/index.ts';
import { MEMORY_PRIVATE, PAGE_BYTES } from '../request.ts';
import type { LeftOutStep, SlotRange } from '../trace/metadata.ts';
import { type Backend, type BackendKind, ObjectNumber, slotsEnd } from './backend.ts';
import { tryOperations, unavailable } from './trial.ts';

const NAME = 'guest-memfd';
const SUMMARY = 'a VM whose private side is a guest_memfd and whose shared side is a memfd';

/** KVM_MEM_GUEST_MEMFD of linux/kvm.h. */
const KVM_MEM_GUEST_MEMFD = 4;
/** GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED: what a host mapping needs that can be touched. */
const MMAP_INIT_SHARED = 3;
const SLOT_OBJECT = 2 ** 32;

const VM_TYPES = [
  { type: 1, name: 'sw-protected' },
  { type: 0, name: 'default' },
] as const;

const HINTS = {
  ENOENT: 'there is no /dev/kvm: load the kvm module; --backend two-memfd is a stand-in',
  EACCES: 'add yourself to the group of /dev/kvm (usermod -aG kvm USER); --backend two-memfd is a stand-in',
  EPERM: 'add yourself to the group of /dev/kvm (usermod -aG kvm USER); --backend two-memfd is a stand-in',
} as const;

export const guestMemfd: BackendKind = {
  name: NAME,
  summary: SUMMARY,
  async open(native): Promise<Backend> {
    const page = { gpa: 0, offset: 0, len: PAGE_BYTES };
    for (const { type, name: vmType } of VM_TYPES) {
      // A VM with private memory (type 1) refuses INIT_SHARED up to 7.3, and kernels before 6.18 know no flag at all.
      for (const gmemFlags of [MMAP_INIT_SHARED, 0]) {
        const [vm, gmem, , slot, attributes, allocate, touch, punch] = await tryOperations(native, [
          ...setUpOperations([page], type, gmemFlags),
          [
            'kvm_set_memory_attributes',
            { obj: ObjectNumber.vm, gpa: 0, len: PAGE_BYTES, attrs: MEMORY_PRIVATE, flags: 0 },
          ],
          ['gmem_allocate', { obj: ObjectNumber.private, ...page }],
          ['gmem_touch', { obj: ObjectNumber.private, ...page, flags: 1 }],
          ['gmem_punch_hole', { obj: ObjectNumber.private, ...page }],
        ]);
        if (!vm || !gmem || !slot || !attributes || !allocate || !touch || !punch)
          throw new Error('a row for each operation');
        const last = type === 0 && gmemFlags === 0;
        if (vm.errno !== 0 && last) throw unavailable(NAME, vm, 'cannot make a VM', HINTS);
        const failed = [gmem, slot, allocate, punch].find((tried) => tried.errno !== 0);
        if (failed && last) throw unavailable(NAME, failed, 'this KVM gives a default VM no guest_memfd', HINTS);
        if (vm.errno !== 0 || failed) continue;
        const leftOut: LeftOutStep[] = [];
        if (attributes.errno !== 0) {
          leftOut.push({
            step: 'attributes',
            errno: attributes.errnoName,
            reason: `KVM_SET_MEMORY_ATTRIBUTES does not work on a VM of type ${vmType} here`,
          });
        }
        if (touch.errno !== 0) {
          leftOut.push({
            step: 'private-touch',
            errno: touch.errnoName,
            reason: 'this guest_memfd cannot be mapped and no guest runs, so nothing touches private pages',
          });
        } else {
          leftOut.push({
            step: 'guest-fault',
            reason: 'private pages are touched through a host mapping of the guest_memfd, not by a guest',
          });
        }
        leftOut.push({
          step: 'vcpu-exit',
          reason: 'no guest runs: a stall has neither the exit nor the entry of a vCPU in it',
        });
        return {
          name: NAME,
          summary: SUMMARY,
          standIn: false,
          vmType,
          abilities: {
            attributes: attributes.errno === 0,
            privateTouch: touch.errno === 0,
            privateKind: 'gmem',
            sharedFile: true,
          },
          leftOut,
          setUp(batch, slots) {
            for (const [op, operands, detail] of setUpOperations(slots, type, gmemFlags))
              batch.push(op, operands, detail);
          },
        };
      }
    }
    throw new Error('the last combination either works or throws');
  },
};

function setUpOperations(
  slots: readonly SlotRange[],
  vmType: number,
  gmemFlags: number,
): Parameters<typeof tryOperations>[1] {
  const len = slotsEnd(slots);
  return [
    ['kvm_create_vm', { obj: ObjectNumber.vm, attrs: vmType }],
    ['kvm_create_guest_memfd', { obj: ObjectNumber.private, len, flags: gmemFlags, peer: ObjectNumber.vm }],
    ['ram_create', { obj: ObjectNumber.shared, len, flags: RamFlag.memfd }, 'shared'],
    ...slots.map(
      (slot, number) =>
        [
          'kvm_set_user_memory_region2',
          {
            obj: ObjectNumber.vm,
            ...slot,
            attrs: number + ObjectNumber.private * SLOT_OBJECT,
            flags: KVM_MEM_GUEST_MEMFD,
            peer: ObjectNumber.shared,
          },
        ] as const,
    ),
  ];
}
