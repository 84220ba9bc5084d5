import { gunzipSync } from 'node:zlib';
import type { HostFiles } from './host-files.ts';

/** The symbols that decide what can be captured and replayed; they go into every trace's metadata. */
export const CONFIG_SYMBOLS = [
  'CONFIG_KVM',
  'CONFIG_KVM_AMD',
  'CONFIG_KVM_AMD_SEV',
  'CONFIG_KVM_INTEL',
  'CONFIG_KVM_INTEL_TDX',
  'CONFIG_KVM_SW_PROTECTED_VM',
  'CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES',
  'CONFIG_KVM_PRIVATE_MEM',
  'CONFIG_KVM_GUEST_MEMFD',
  'CONFIG_KVM_GENERIC_PRE_FAULT_MEMORY',
  'CONFIG_VFIO',
  'CONFIG_VFIO_PCI',
  'CONFIG_VFIO_IOMMU_TYPE1',
  'CONFIG_VFIO_DEVICE_CDEV',
  'CONFIG_IOMMUFD',
  'CONFIG_IOMMUFD_TEST',
  'CONFIG_AMD_IOMMU',
  'CONFIG_INTEL_IOMMU',
  'CONFIG_TRANSPARENT_HUGEPAGE',
  'CONFIG_HUGETLBFS',
  'CONFIG_MEMFD_CREATE',
  'CONFIG_UPROBE_EVENTS',
  'CONFIG_KPROBE_EVENTS',
] as const;

export type ConfigSymbol = (typeof CONFIG_SYMBOLS)[number];

export interface KernelConfig {
  /** Where it was read; null if the host has it nowhere. */
  readonly path: string | null;
  /** Each of CONFIG_SYMBOLS: "y", "m" or null for off; {} if the config is unknown. */
  readonly symbols: Readonly<Partial<Record<ConfigSymbol, string | null>>>;
}

/** The running kernel's configuration, from where kernels and distributions put it. */
export function readKernelConfig(files: HostFiles, release: string): KernelConfig {
  const paths = ['/proc/config.gz', `/boot/config-${release}`, `/lib/modules/${release}/config`];
  for (const path of paths) {
    const { bytes } = files.read(path);
    const text = bytes && decode(path, bytes);
    if (text !== undefined) return { path, symbols: parseSymbols(text) };
  }
  return { path: null, symbols: {} };
}

function decode(path: string, bytes: Buffer): string | undefined {
  if (!path.endsWith('.gz')) return bytes.toString('utf8');
  try {
    return gunzipSync(bytes).toString('utf8');
  } catch {
    // Not gzip, or cut off: half a configuration would say "off" for what is on.
    return undefined;
  }
}

function parseSymbols(text: string): KernelConfig['symbols'] {
  const set = new Map<string, string>();
  for (const match of text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)) set.set(match[1] ?? '', match[2] ?? '');
  return Object.fromEntries(CONFIG_SYMBOLS.map((symbol) => [symbol, set.get(symbol) ?? null]));
}
