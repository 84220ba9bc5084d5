import type { Native } from '../../native/native.ts';
import type { HostInfo } from '../trace/metadata.ts';
import { readHostInfo } from './host-info.ts';
import { dmaRows } from './probe-dma.ts';
import { guestMemfdRows } from './probe-kvm.ts';
import { machineRows } from './probe-machine.ts';
import { memoryRows, twoMemfdRows } from './probe-memory.ts';
import { gatherEvidence, type ProbeRow } from './probe-row.ts';
import { teeRows } from './probe-tee.ts';

export type { ProbeRow } from './probe-row.ts';

/** Whether a backend runs here. */
export interface BackendVerdict {
  readonly name: string;
  /** True if its private side only stands in for a guest_memfd. */
  readonly standIn: boolean;
  /** null: not known, because nothing was tried. */
  readonly works: boolean | null;
  /** Steps that do not work, needed or not: what a trace would leave out. */
  readonly missing: readonly string[];
}

/** What this host can capture and replay: plain JSON, the document of `probe --json` but for `schema` and `warnings` (probe.schema.json). */
export interface ProbeReport {
  readonly host: HostInfo;
  readonly backends: readonly BackendVerdict[];
  readonly rows: readonly ProbeRow[];
}

/** The steps without which a backend does not run; what is missing of the others is left out of its traces. */
const BACKENDS = [
  {
    name: 'guest-memfd',
    standIn: false,
    needs: ['open-kvm', 'create-vm', 'guest-memfd', 'memory-slot', 'allocate', 'discard'],
  },
  { name: 'two-memfd', standIn: true, needs: ['memfd'] },
] as const;

/**
 * Tries and reads what this host can do. Nothing is changed and nothing stays open.
 * @param native the addon; null if it is not built, and then the steps that need it are unknown.
 * @param root folder to take for "/" when files are read.
 */
export function probe(native: Pick<Native, 'probeHost' | 'errnoName'> | null, root?: string): ProbeReport {
  const host = readHostInfo(root);
  const evidence = gatherEvidence(root, {
    attempts: native?.probeHost().attempts ?? null,
    errnoName: (errno) => native?.errnoName(errno) ?? String(errno),
  });
  const rows = [
    ...machineRows(evidence, host),
    ...guestMemfdRows(evidence),
    ...twoMemfdRows(evidence),
    ...teeRows(evidence),
    ...dmaRows(evidence),
    ...memoryRows(evidence),
  ];
  return { host, backends: BACKENDS.map((backend) => verdict(backend, rows)), rows };
}

function verdict({ name, standIn, needs }: (typeof BACKENDS)[number], rows: readonly ProbeRow[]): BackendVerdict {
  const own = rows.filter((row) => row.area === name);
  const needed = own.filter((row) => needs.some((step) => step === row.step));
  const works = needed.some((row) => row.works === false) ? false : needed.every((row) => row.works) || null;
  return { name, standIn, works, missing: own.filter((row) => row.works === false).map((row) => row.step) };
}
