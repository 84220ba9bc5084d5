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
  // A running guest's own accesses to a range, one per 4 KiB page, timed by the guest with its TSC: faults and exits are in the time.
  'guest_touch',
  'kvm_create_vcpu',
  'kvm_memory_encrypt_op',
  // A type1 container, or the compatibility mode of iommufd: opened, given a group, VFIO_SET_IOMMU.
  'vfio_set_iommu',
  // VFIO_IOMMU_GET_INFO: `result` is how many more mappings dma_entry_limit allows.
  'vfio_iommu_get_info',
  'vfio_device_bind_iommufd',
  'vfio_detach_iommufd_pt',
  'iommufd_open',
  'iommufd_vfio_ioas',
  'iommufd_option',
  'iommufd_destroy',
  // IOMMU_TEST_CMD of CONFIG_IOMMUFD_TEST (drivers/iommu/iommufd/iommufd_test.h): a mock device, and what its page table really maps.
  'iommufd_test_mock_domain',
  'iommufd_test_md_check_map',
  'iommufd_test_trigger_iopf',
  'iommufd_fault_respond',
  // Pages held as a driver holds them for DMA (CONFIG_GUP_TEST: PIN_LONGTERM_TEST_START and _STOP), without a device.
  'gup_hold',
  'gup_release',
  // KVM_CHECK_EXTENSION on a VM: `attrs` is the capability, `result` its value.
  'kvm_check_extension',
  // What a recording sums up instead of a row per KVM_RUN: for each vCPU and period, `result` entries and `dur_ns` inside (guest time).
  'kvm_run',
  // The same by exit reason (`attrs`, KVM_EXIT_*; null where KVM_RUN failed, then `errno`): `result` exits, and `dur_ns` until the vCPU ran again.
  'exit_other',
  // A VM, guest_memfd, container, device or iommufd is closed: the last descriptor of `obj` that the process had.
  'close',
  // Memory that a file stands behind, mapped and unmapped by a VMM: `obj` is the file, at `offset`.
  'mmap',
  'munmap',
  'kvm_memory_encrypt_reg_region',
  'kvm_memory_encrypt_unreg_region',
  // QEMU's trace events (accel/kvm, system, hw/vfio) of what it is about to do; the calls themselves are rows of their own where they were seen.
  'kvm_convert_memory',
  'ram_block_attributes_state_change',
  'vfio_listener_region_add',
  'vfio_listener_region_del',
  // DMA regions that a vfio-user client told a device server of.
  'vfio_user_dma_map',
  'vfio_user_dma_unmap',
  // Kernel tracepoints.
  'kvm_exit',
  'kvm_page_fault',
  'kvm_unmap_hva_range',
  'mm_filemap_add_to_page_cache',
  'mm_filemap_delete_from_page_cache',
  // What an import could not use: `detail` says what kind and where first, `len` how many lines or records.
  'import_trouble',
] as const;

export type OpName = (typeof OPS)[number];

const CODES: ReadonlyMap<string, number> = new Map(OPS.map((name, code) => [name, code]));

/** Code of an operation for the executor and the dictionary. */
export function opCode(name: OpName): number {
  const code = CODES.get(name);
  if (code === undefined) throw new Error(`no operation ${name}`);
  return code;
}
