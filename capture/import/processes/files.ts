import type { Cursor } from '../cursor.ts';
import type { FileKind } from '../ioctls.ts';

/**
 * What an open file is. `memory` is one that guest memory lies in: memfd, tmpfs, hugetlbfs, or a plain `file` that is mapped shared to be written to;
 * `other` is of no interest.
 */
export type Kind = FileKind | 'memory' | 'file' | 'other';

/** An open file description: what all descriptors that were duplicated from each other stand for. */
export interface OpenFile {
  readonly kind: Kind;
  /** Number of the object in the trace; 0 for what is not numbered. */
  readonly object: number;
  /** Index of a vCPU; -1 for others, and if it is not known. */
  readonly vcpu: number;
  /** N of /dev/vfio/devices/vfioN, where that is known. */
  readonly device?: number;
}

export const OTHER_FILE: OpenFile = { kind: 'other', object: 0, vcpu: -1 };

/** Files without a number in the trace. */
export const UNNUMBERED: ReadonlySet<Kind> = new Set(['kvm', 'vfio-group', 'file', 'other']);

/** A process that has one of these open is a VMM, whose memory is of interest. */
export const OF_A_VMM: ReadonlySet<Kind> = new Set(['vm', 'vfio-container', 'vfio-device', 'iommufd']);

/** Closing the last descriptor of one of these is a row. */
export const CLOSED_WITH_A_ROW: ReadonlySet<Kind> = new Set([...OF_A_VMM, 'vcpu', 'guest-memfd']);

export interface NamedFile {
  readonly kind: Kind;
  /** Of a vCPU, a VFIO device or a group; -1 for others. */
  readonly index: number;
}

const EXACT: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['/dev/kvm', 'kvm'],
  ['anon_inode:kvm-vm', 'vm'],
  ['anon_inode:[kvm-gmem]', 'guest-memfd'],
  ['anon_inode:[vfio-device]', 'vfio-device'],
  ['/dev/vfio/vfio', 'vfio-container'],
  ['/dev/iommu', 'iommufd'],
]);

const PATTERNS: readonly (readonly [RegExp, Kind])[] = [
  [/^anon_inode:kvm-vcpu:(\d{1,9})$/, 'vcpu'],
  [/^\/dev\/vfio\/devices\/vfio(\d{1,9})$/, 'vfio-device'],
  [/^\/dev\/vfio\/(?:noiommu-)?(\d{1,9})$/, 'vfio-group'],
  [/^\/(?:memfd:|dev\/shm\/|dev\/hugepages|anon_hugepage)/, 'memory'],
  [/^\/(?!dev\/|proc\/|sys\/)/, 'file'],
];

/** What is behind a path that the kernel says (/proc/PID/fd, strace -y) or that a program opens. */
export function fileOfPath(path: string): NamedFile {
  const exact = EXACT.get(path);
  if (exact) return { kind: exact, index: -1 };
  for (const [pattern, kind] of PATTERNS) {
    const match = pattern.exec(path);
    if (match) return { kind, index: Number(match[1] ?? -1) };
  }
  return { kind: 'other', index: -1 };
}

/** As `fileOfPath`, for logs that do not show which files are mapped: plain ones are of no interest then. */
export function kindOfPath(path: string): Kind {
  const { kind } = fileOfPath(path);
  return kind === 'file' ? 'other' : kind;
}

/** Index at the end of "anon_inode:kvm-vcpu:3"; -1 for other paths. */
export function vcpuOfPath(path: string): number {
  const { kind, index } = fileOfPath(path);
  return kind === 'vcpu' ? index : -1;
}

const MAX_KNOWN_PATHS = 4096;

/** What is behind the paths of a log, each looked at once. */
export class Paths {
  readonly #byHash = new Map<number, NamedFile & { readonly text: Uint8Array }>();

  /** The path in the cursor's bytes[start, end), with or without the device that -yy adds ("<char 10:232>"). */
  of(cursor: Cursor, start: number, end: number): NamedFile {
    const { bytes } = cursor;
    let hash = 0x811c9dc5 | 0;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
    const known = this.#byHash.get(hash);
    if (known && isSame(known.text, bytes, start, end)) return known;
    const path = cursor.text(start, end).replace(/<(?:char|block) \d+:\d+>$/, '');
    const found = { ...fileOfPath(path), text: bytes.slice(start, end) };
    if (this.#byHash.size >= MAX_KNOWN_PATHS) this.#byHash.clear();
    this.#byHash.set(hash, found);
    return found;
  }
}

function isSame(text: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (text[i] !== bytes[start + i]) return false;
  return true;
}
