import type { Native } from '../../native/native.ts';
import type { HostInfo } from '../trace/metadata.ts';
import { readHostInfo } from './host-info.ts';
import { dmaRows } from './probe-dma.ts';
import { guestMemfdRows, kvmRows, swProtectedRows } from './probe-kvm.ts';
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

interface BackendSteps {
  readonly name: string;
  readonly standIn: boolean;
  /** Whether a row is one of its steps. */
  readonly owns: (row: ProbeRow) => boolean;
  /** The steps without which it does not run; what is missing of the others is left out of its traces. */
  readonly needs: readonly string[];
}

const OF_GMEM_VM = ['create-vm', 'guest-memfd', 'memory-slot', 'allocate', 'discard'] as const;

const BACKENDS: readonly BackendSteps[] = [
  { name: 'sw-protected', standIn: false, owns: inArea('sw-protected'), needs: OF_GMEM_VM },
  { name: 'guest-memfd', standIn: false, owns: inArea('guest-memfd'), needs: OF_GMEM_VM },
  { name: 'two-memfd', standIn: true, owns: inArea('two-memfd'), needs: ['memfd'] },
  ...['snp', 'tdx'].map((name) => ({
    name,
    standIn: false,
    owns: (row: ProbeRow) => row.area === 'tee' && row.step === name,
    needs: [name],
  })),
];

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
    ...kvmRows(evidence),
    ...swProtectedRows(evidence),
    ...guestMemfdRows(evidence),
    ...twoMemfdRows(evidence),
    ...teeRows(evidence),
    ...dmaRows(evidence),
    ...memoryRows(evidence),
  ];
  return { host, backends: BACKENDS.map((backend) => verdict(backend, rows)), rows };
}

function inArea(area: string): BackendSteps['owns'] {
  return (row) => row.area === area;
}

function verdict({ name, standIn, owns, needs }: BackendSteps, rows: readonly ProbeRow[]): BackendVerdict {
  const own = rows.filter(owns);
  const needed = own.filter((row) => needs.includes(row.step));
  const works = needed.some((row) => row.works === false) ? false : needed.every((row) => row.works) || null;
  return { name, standIn, works, missing: own.filter((row) => row.works === false).map((row) => row.step) };
}
