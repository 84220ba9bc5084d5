/**
 * The JSON under the trace's one metadata key, `cvmtrace`. `metadata.schema.json` is its published JSON Schema; keys that this version does not
 * know are kept. 64-bit values that can pass 2^53 are decimal strings.
 */

/** A file of another major version is refused. Raise minor for columns or keys that older readers may ignore. */
export const FORMAT_VERSION = { major: 1, minor: 0 } as const;

export type TraceSource = 'run' | 'record' | 'import' | 'replay' | 'generated';

export interface ClockInfo {
  /** What ts_ns counts: "CLOCK_MONOTONIC", "CLOCK_REALTIME", "unknown" ... */
  readonly name: string;
  /** The clock's ns at ts_ns = 0; null if unknown. */
  readonly baseNs: string | null;
  /** Add to a clock value to get ns since 1970; null if unknown. */
  readonly wallOffsetNs: string | null;
}

export interface HostInfo {
  readonly kernel: {
    readonly release: string;
    readonly version: string;
    /** Config symbols that decide what can be captured (CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES ...): "y", "m", or null for off; {} if unknown. */
    readonly config: Readonly<Record<string, string | null>>;
  };
  readonly cpu: { readonly model: string; readonly logical: number };
  readonly memoryBytes: number;
  /** Hypervisor that this host itself runs under; null for none, "unknown" if it cannot be told. */
  readonly hypervisor: string | null;
  /** True if the CPU is emulated (QEMU TCG): times are then those of an emulator. */
  readonly emulated: boolean;
  /** What the host's KVM can run: "snp", "tdx", "sw-protected"; null for none. */
  readonly tee: string | null;
  /** IOMMU in use: "intel", "amd" ...; null for none. */
  readonly iommu: string | null;
}

export interface SlotRange {
  readonly gpa: number;
  readonly len: number;
  /** Where the slot begins in the guest_memfd and in the ram object. */
  readonly offset: number;
}

export interface GuestInfo {
  readonly memoryBytes: number | null;
  readonly vcpus: number | null;
  /** "default", "sw-protected", "sev", "sev-es", "snp", "tdx"; null if unknown, or if there was no VM. */
  readonly vmType: string | null;
  /** Who asked: a running guest, a workload generator, or the trace that is replayed. */
  readonly requests: 'guest' | 'generated' | 'recorded' | null;
  readonly slots: readonly SlotRange[];
}

/** A step that the host could not do, so that it was not done and is in no number of the trace. */
export interface LeftOutStep {
  /** Stable name, e.g. "attributes", "private-touch". */
  readonly step: string;
  /** errno's name if a call said no. */
  readonly errno?: string;
  readonly reason: string;
}

/** Another tool's log that became a trace. */
export interface ImportOrigin {
  /** "qemu-log", "strace" ... */
  readonly format: string;
  /** Name of the log without its folder; "-" for standard input. */
  readonly file: string;
  readonly compressed: 'gzip' | 'zstd' | null;
  /** The log's own clock. The trace's is another one if it was aligned to another trace. */
  readonly clock: string;
  /** What the user had added to the log's times. */
  readonly clockOffsetNs: string;
  /** Name of the trace on whose base times were put. */
  readonly alignedTo: string | null;
}

/** What this version writes. */
export interface KnownMetadata {
  readonly format: { readonly major: number; readonly minor: number };
  readonly tool: { readonly name: string; readonly version: string };
  readonly source: TraceSource;
  readonly command: readonly string[];
  readonly clock: ClockInfo;
  /** null for imported logs, whose host is not known. */
  readonly host: HostInfo | null;
  readonly guest: GuestInfo;
  readonly workload?: {
    readonly name: string;
    readonly seed: number;
    readonly parameters: Readonly<Record<string, number | string>>;
  };
  readonly strategy?: { readonly name: string; readonly axes: Readonly<Record<string, string>> };
  /** standIn: the private side is not a guest_memfd; numbers from it carry that word. */
  readonly backend?: { readonly name: string; readonly standIn: boolean };
  /** Where memory was mapped for devices; absent: nowhere. device: PCI address or IOMMU group, null for a mock. */
  readonly dma?: { readonly interface: string; readonly device: string | null; readonly addressing: string };
  readonly pacing?: { readonly mode: 'asap' | 'absolute' | 'relative'; readonly factor: number };
  /** Which trace was replayed, and which repetition this is (from 1; 0 is the memory round, whose times are not used). */
  readonly replay?: { readonly of: string; readonly round: number };
  /** Where an imported trace comes from. */
  readonly import?: ImportOrigin;
  /** How a recording was set up: bytes of each thread's ring, and what a thread did that found its ring full. */
  readonly recording?: { readonly ringBytes: number; readonly onFull: 'block' | 'drop' };
  readonly leftOut: readonly LeftOutStep[];
}

export interface TraceMetadata extends KnownMetadata {
  readonly [key: string]: unknown;
}
