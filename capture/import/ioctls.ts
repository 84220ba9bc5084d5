import type { OpName } from '../../native/index.ts';

/** What kind of open file takes a request. Numbers from 0x3b70 mean different things on different kinds. */
export type FileKind =
  'kvm' | 'vm' | 'vcpu' | 'guest-memfd' | 'vfio-container' | 'vfio-group' | 'vfio-device' | 'iommufd';

export interface Ioctl {
  /** The whole 32-bit request of x86-64: KVM_SET_MEMORY_ATTRIBUTES and ...2 differ only in direction and size. */
  readonly request: number;
  /** As the header and strace spell it. */
  readonly name: string;
  /** What it is a row of; undefined for those that only tell what kind of file they are called on, or make one. */
  readonly op?: OpName;
  /** Any of these takes it. */
  readonly on: readonly FileKind[];
}

/** Maps and unmaps go to a type1 container, or to an iommufd in its compatibility mode. */
const CONTAINERS: readonly FileKind[] = ['vfio-container', 'iommufd'];

/** linux/kvm.h, linux/vfio.h, linux/iommufd.h: the requests that become rows, and those that tell kinds of files. */
export const IOCTLS: readonly Ioctl[] = [
  { request: 0xae00, name: 'KVM_GET_API_VERSION', on: ['kvm'] },
  { request: 0xae01, name: 'KVM_CREATE_VM', op: 'kvm_create_vm', on: ['kvm'] },
  { request: 0xae04, name: 'KVM_GET_VCPU_MMAP_SIZE', on: ['kvm'] },
  { request: 0xae41, name: 'KVM_CREATE_VCPU', op: 'kvm_create_vcpu', on: ['vm'] },
  { request: 0x4020ae46, name: 'KVM_SET_USER_MEMORY_REGION', op: 'kvm_set_user_memory_region', on: ['vm'] },
  { request: 0x40a0ae49, name: 'KVM_SET_USER_MEMORY_REGION2', op: 'kvm_set_user_memory_region2', on: ['vm'] },
  { request: 0xae80, name: 'KVM_RUN', op: 'kvm_run', on: ['vcpu'] },
  { request: 0xc008aeba, name: 'KVM_MEMORY_ENCRYPT_OP', op: 'kvm_memory_encrypt_op', on: ['vm', 'vcpu'] },
  { request: 0x8010aebb, name: 'KVM_MEMORY_ENCRYPT_REG_REGION', op: 'kvm_memory_encrypt_reg_region', on: ['vm'] },
  { request: 0x8010aebc, name: 'KVM_MEMORY_ENCRYPT_UNREG_REGION', op: 'kvm_memory_encrypt_unreg_region', on: ['vm'] },
  { request: 0x4020aed2, name: 'KVM_SET_MEMORY_ATTRIBUTES', op: 'kvm_set_memory_attributes', on: ['vm'] },
  { request: 0xc080aed2, name: 'KVM_SET_MEMORY_ATTRIBUTES2', op: 'kvm_set_memory_attributes2', on: ['guest-memfd'] },
  // The first version of the in-place conversion series.
  { request: 0xc040aed6, name: 'KVM_SET_MEMORY_ATTRIBUTES2', op: 'kvm_set_memory_attributes2', on: ['vm'] },
  { request: 0xc040aed4, name: 'KVM_CREATE_GUEST_MEMFD', op: 'kvm_create_guest_memfd', on: ['vm'] },
  { request: 0xc040aed5, name: 'KVM_PRE_FAULT_MEMORY', op: 'kvm_pre_fault_memory', on: ['vcpu'] },
  // Of the VM, so that the number of a file received over a socket is known.
  { request: 0xae60, name: 'KVM_CREATE_IRQCHIP', on: ['vm'] },
  { request: 0xae47, name: 'KVM_SET_TSS_ADDR', on: ['vm'] },
  { request: 0x4020ae76, name: 'KVM_IRQFD', on: ['vm'] },
  { request: 0x4040ae79, name: 'KVM_IOEVENTFD', on: ['vm'] },
  { request: 0x4008ae6a, name: 'KVM_SET_GSI_ROUTING', on: ['vm'] },
  { request: 0x8090ae81, name: 'KVM_GET_REGS', on: ['vcpu'] },
  { request: 0x4090ae82, name: 'KVM_SET_REGS', on: ['vcpu'] },
  { request: 0x3b66, name: 'VFIO_SET_IOMMU', op: 'vfio_set_iommu', on: CONTAINERS },
  { request: 0x3b67, name: 'VFIO_GROUP_GET_STATUS', on: ['vfio-group'] },
  { request: 0x3b68, name: 'VFIO_GROUP_SET_CONTAINER', on: ['vfio-group'] },
  { request: 0x3b69, name: 'VFIO_GROUP_UNSET_CONTAINER', on: ['vfio-group'] },
  { request: 0x3b6a, name: 'VFIO_GROUP_GET_DEVICE_FD', on: ['vfio-group'] },
  { request: 0x3b6b, name: 'VFIO_DEVICE_GET_INFO', on: ['vfio-device'] },
  { request: 0x3b6c, name: 'VFIO_DEVICE_GET_REGION_INFO', on: ['vfio-device'] },
  { request: 0x3b6d, name: 'VFIO_DEVICE_GET_IRQ_INFO', on: ['vfio-device'] },
  { request: 0x3b6e, name: 'VFIO_DEVICE_SET_IRQS', on: ['vfio-device'] },
  { request: 0x3b6f, name: 'VFIO_DEVICE_RESET', on: ['vfio-device'] },
  { request: 0x3b70, name: 'VFIO_IOMMU_GET_INFO', op: 'vfio_iommu_get_info', on: CONTAINERS },
  { request: 0x3b71, name: 'VFIO_IOMMU_MAP_DMA', op: 'vfio_map_dma', on: CONTAINERS },
  { request: 0x3b72, name: 'VFIO_IOMMU_UNMAP_DMA', op: 'vfio_unmap_dma', on: CONTAINERS },
  { request: 0x3b76, name: 'VFIO_DEVICE_BIND_IOMMUFD', op: 'vfio_device_bind_iommufd', on: ['vfio-device'] },
  { request: 0x3b77, name: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', op: 'vfio_attach_iommufd_pt', on: ['vfio-device'] },
  { request: 0x3b78, name: 'VFIO_DEVICE_DETACH_IOMMUFD_PT', op: 'vfio_detach_iommufd_pt', on: ['vfio-device'] },
  { request: 0x3b80, name: 'IOMMU_DESTROY', op: 'iommufd_destroy', on: ['iommufd'] },
  { request: 0x3b81, name: 'IOMMU_IOAS_ALLOC', op: 'iommufd_ioas_alloc', on: ['iommufd'] },
  { request: 0x3b82, name: 'IOMMU_IOAS_ALLOW_IOVAS', on: ['iommufd'] },
  { request: 0x3b83, name: 'IOMMU_IOAS_COPY', op: 'iommufd_ioas_copy', on: ['iommufd'] },
  { request: 0x3b84, name: 'IOMMU_IOAS_IOVA_RANGES', on: ['iommufd'] },
  { request: 0x3b85, name: 'IOMMU_IOAS_MAP', op: 'iommufd_ioas_map', on: ['iommufd'] },
  { request: 0x3b86, name: 'IOMMU_IOAS_UNMAP', op: 'iommufd_ioas_unmap', on: ['iommufd'] },
  { request: 0x3b87, name: 'IOMMU_OPTION', op: 'iommufd_option', on: ['iommufd'] },
  { request: 0x3b88, name: 'IOMMU_VFIO_IOAS', op: 'iommufd_vfio_ioas', on: ['iommufd'] },
  { request: 0x3b89, name: 'IOMMU_HWPT_ALLOC', op: 'iommufd_hwpt_alloc', on: ['iommufd'] },
  { request: 0x3b8a, name: 'IOMMU_GET_HW_INFO', on: ['iommufd'] },
  { request: 0x3b8b, name: 'IOMMU_HWPT_SET_DIRTY_TRACKING', on: ['iommufd'] },
  { request: 0x3b8c, name: 'IOMMU_HWPT_GET_DIRTY_BITMAP', on: ['iommufd'] },
  { request: 0x3b8d, name: 'IOMMU_HWPT_INVALIDATE', op: 'iommufd_hwpt_invalidate', on: ['iommufd'] },
  { request: 0x3b8e, name: 'IOMMU_FAULT_QUEUE_ALLOC', op: 'iommufd_fault_queue_alloc', on: ['iommufd'] },
  { request: 0x3b8f, name: 'IOMMU_IOAS_MAP_FILE', op: 'iommufd_ioas_map_file', on: ['iommufd'] },
  { request: 0x3b90, name: 'IOMMU_VIOMMU_ALLOC', op: 'iommufd_viommu_alloc', on: ['iommufd'] },
  { request: 0x3b91, name: 'IOMMU_VDEVICE_ALLOC', op: 'iommufd_vdevice_alloc', on: ['iommufd'] },
  { request: 0x3b92, name: 'IOMMU_IOAS_CHANGE_PROCESS', op: 'iommufd_ioas_change_process', on: ['iommufd'] },
];

const BY_REQUEST: ReadonlyMap<number, Ioctl> = new Map(IOCTLS.map((ioctl) => [ioctl.request, ioctl]));

/** The request of this number (unsigned, 32 bits), if it is one of ours. */
export function ioctlOf(request: number): Ioctl | undefined {
  return BY_REQUEST.get(request);
}
