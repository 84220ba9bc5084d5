// Codes of the operations. Same order as native/ops.ts, where the names are explained; a test compares the two.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace cvmtrace {

#define CVMTRACE_OPS(X)                \
  X(mark)                              \
  X(lost)                              \
  X(exit_map_gpa_range)                \
  X(exit_memory_fault)                 \
  X(kvm_create_vm)                     \
  X(kvm_create_guest_memfd)            \
  X(kvm_set_user_memory_region)        \
  X(kvm_set_user_memory_region2)       \
  X(kvm_set_memory_attributes)         \
  X(kvm_set_memory_attributes2)        \
  X(kvm_pre_fault_memory)              \
  X(ram_create)                        \
  X(ram_allocate)                      \
  X(ram_punch_hole)                    \
  X(ram_madvise)                       \
  X(ram_touch)                         \
  X(gmem_allocate)                     \
  X(gmem_punch_hole)                   \
  X(gmem_touch)                        \
  X(vfio_map_dma)                      \
  X(vfio_unmap_dma)                    \
  X(vfio_attach_iommufd_pt)            \
  X(iommufd_ioas_alloc)                \
  X(iommufd_ioas_map)                  \
  X(iommufd_ioas_map_file)             \
  X(iommufd_ioas_unmap)                \
  X(iommufd_ioas_copy)                 \
  X(iommufd_ioas_change_process)       \
  X(iommufd_hwpt_alloc)                \
  X(iommufd_hwpt_invalidate)           \
  X(iommufd_fault_queue_alloc)         \
  X(iommufd_viommu_alloc)              \
  X(iommufd_vdevice_alloc)             \
  X(iommu_map)                         \
  X(iommu_unmap)                       \
  X(iommu_fault)                       \
  X(guest_touch)                       \
  X(kvm_create_vcpu)                   \
  X(kvm_memory_encrypt_op)             \
  X(vfio_set_iommu)                    \
  X(vfio_iommu_get_info)               \
  X(vfio_device_bind_iommufd)          \
  X(vfio_detach_iommufd_pt)            \
  X(iommufd_open)                      \
  X(iommufd_vfio_ioas)                 \
  X(iommufd_option)                    \
  X(iommufd_destroy)                   \
  X(iommufd_test_mock_domain)          \
  X(iommufd_test_md_check_map)         \
  X(iommufd_test_trigger_iopf)         \
  X(iommufd_fault_respond)             \
  X(gup_hold)                          \
  X(gup_release)                       \
  X(kvm_check_extension)               \
  X(kvm_run)                           \
  X(exit_other)                        \
  X(close)                             \
  X(mmap)                              \
  X(munmap)                            \
  X(kvm_memory_encrypt_reg_region)     \
  X(kvm_memory_encrypt_unreg_region)   \
  X(kvm_convert_memory)                \
  X(ram_block_attributes_state_change) \
  X(vfio_listener_region_add)          \
  X(vfio_listener_region_del)          \
  X(vfio_user_dma_map)                 \
  X(vfio_user_dma_unmap)               \
  X(kvm_exit)                          \
  X(kvm_page_fault)                    \
  X(kvm_unmap_hva_range)               \
  X(mm_filemap_add_to_page_cache)      \
  X(mm_filemap_delete_from_page_cache) \
  X(import_trouble)

// Enumerators are spelled as in traces, so that one search finds an operation in every layer.
enum class Op : uint8_t {
#define CVMTRACE_OP_ENUMERATOR(name) name,
  CVMTRACE_OPS(CVMTRACE_OP_ENUMERATOR)
#undef CVMTRACE_OP_ENUMERATOR
};

inline constexpr const char* kOpNames[] = {
#define CVMTRACE_OP_NAME(name) #name,
    CVMTRACE_OPS(CVMTRACE_OP_NAME)
#undef CVMTRACE_OP_NAME
};

inline constexpr size_t kOpCount = sizeof(kOpNames) / sizeof(kOpNames[0]);

// Whether it makes or destroys objects, which only the executor's thread does.
constexpr bool ChangesObjects(Op op) {
  switch (op) {
    case Op::kvm_create_vm:
    case Op::kvm_create_guest_memfd:
    case Op::kvm_create_vcpu:
    case Op::ram_create:
    case Op::vfio_set_iommu:
    case Op::vfio_device_bind_iommufd:
    case Op::iommufd_open:
    case Op::iommufd_ioas_alloc:
    case Op::iommufd_hwpt_alloc:
    case Op::iommufd_fault_queue_alloc:
    case Op::iommufd_viommu_alloc:
    case Op::iommufd_vdevice_alloc:
    case Op::iommufd_destroy:
    case Op::iommufd_test_mock_domain:
    case Op::gup_hold:
    case Op::gup_release:
      return true;
    default:
      return false;
  }
}

constexpr bool IsExit(Op op) { return op == Op::exit_map_gpa_range || op == Op::exit_memory_fault; }

}  // namespace cvmtrace
