/**
 * Names of the operations that a trace can hold. The position in this list is the code that the native executor uses (`native/core/ops.h`
 * has the same order; a test compares them) and the dictionary index in files that cvmtrace writes, so new names go to the end.
 *
 * Names are the kernel's own in lower case (linux/kvm.h, linux/vfio.h, linux/iommufd.h); `exit_*` are vCPU exits to user space, `gmem_*` and
 * `ram_*` are calls or accesses on the private and on the shared side of guest memory.
 */
export const OPS = [
  'mark',
  'lost',
  'exit_map_gpa_range',
  'exit_memory_fault',
  'kvm_create_vm',
  'kvm_create_guest_memfd',
  'kvm_set_user_memory_region',
  'kvm_set_user_memory_region2',
  'kvm_set_memory_attributes',
  'kvm_set_memory_attributes2',
  'kvm_pre_fault_memory',
  // One host mapping of shared (or stand-in) memory: memfd_create, ftruncate and mmap, or an anonymous mmap. `detail` says private or shared.
  'ram_create',
  'ram_allocate',
  'ram_punch_hole',
  'ram_madvise',
  'ram_touch',
  'gmem_allocate',
  'gmem_punch_hole',
  // Pages of a guest_memfd touched through a host mapping of it (GUEST_MEMFD_FLAG_MMAP): a real fault on its page, not a guest's access.
  'gmem_touch',
  'vfio_map_dma',
  'vfio_unmap_dma',
  'vfio_attach_iommufd_pt',
  'iommufd_ioas_alloc',
  'iommufd_ioas_map',
  'iommufd_ioas_map_file',
  'iommufd_ioas_unmap',
  'iommufd_ioas_copy',
  'iommufd_ioas_change_process',
  'iommufd_hwpt_alloc',
  'iommufd_hwpt_invalidate',
  'iommufd_fault_queue_alloc',
  'iommufd_viommu_alloc',
  'iommufd_vdevice_alloc',
  'iommu_map',
  'iommu_unmap',
  'iommu_fault',
] as const;

export type OpName = (typeof OPS)[number];

const CODES: ReadonlyMap<string, number> = new Map(OPS.map((name, code) => [name, code]));

/** Code of an operation for the executor and the dictionary. */
export function opCode(name: OpName): number {
  const code = CODES.get(name);
  if (code === undefined) throw new Error(`no operation ${name}`);
  return code;
}
