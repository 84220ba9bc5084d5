import type { HostFiles } from './host-files.ts';

/** How the names in /sys/class/iommu begin, by driver. */
const DRIVERS = [
  ['dmar', 'intel'],
  ['ivhd', 'amd'],
  ['smmu3', 'arm-smmu-v3'],
  ['smmu', 'arm-smmu'],
  ['virtio', 'virtio'],
] as const;

/** The pretended IOMMU of a kernel with CONFIG_IOMMUFD_TEST: it is listed with the real ones, and translates for no device. */
const MOCK = 'iommufd_selftest_iommu';

/** IOMMUs that the kernel uses, by their names in /sys/class/iommu. */
export function iommuUnits(files: HostFiles): readonly string[] {
  return files.list('/sys/class/iommu').filter((name) => !name.startsWith(MOCK));
}

/** Kind of the IOMMU, or its first unit's name if its driver is not known; null if none is in use. */
export function readIommu(files: HostFiles): string | null {
  const [first] = iommuUnits(files);
  if (first === undefined) return null;
  return DRIVERS.find(([prefix]) => first.startsWith(prefix))?.[1] ?? first;
}
