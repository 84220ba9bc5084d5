/** "CPU 3/KVM" (QEMU), "vcpu3" (cloud-hypervisor), "fc_vcpu 3" (Firecracker), "crosvm_vcpu3". */
const VCPU_NAME = /^(?:CPU (\d{1,5})\/KVM|(?:[a-z]+_)?vcpu ?(\d{1,5}))$/;
const MAX_VCPU = 0xffff;

/** Index of the vCPU that a thread of this name runs; -1 if the name does not say. */
export function vcpuOfName(name: string): number {
  const match = VCPU_NAME.exec(name);
  const vcpu = Number(match?.[1] ?? match?.[2] ?? -1);
  return vcpu <= MAX_VCPU ? vcpu : -1;
}
