import { formatSize } from '../size.ts';
import { isOff, triedRow, type Evidence, type ProbeRow } from './probe-row.ts';

const AREA = 'memory';
/** Bit of CAP_IPC_LOCK in the CapEff mask of /proc/self/status (linux/capability.h). */
const CAP_IPC_LOCK = 14n;

const HUGE_PAGES = [
  { step: 'hugepages-2m', name: '2 MiB', folder: 'hugepages-2048kB', unit: 2 ** 21 },
  { step: 'hugepages-1g', name: '1 GiB', folder: 'hugepages-1048576kB', unit: 2 ** 30 },
] as const;

/** Steps of the two-memfd backend. */
export function twoMemfdRows(evidence: Evidence): readonly ProbeRow[] {
  return [
    triedRow(evidence, {
      area: 'two-memfd',
      step: 'memfd',
      key: 'memory.memfd',
      needs: 'memory',
      found: () => 'memfd_create, mapped and written',
      symbol: 'CONFIG_MEMFD_CREATE',
    }),
    triedRow(evidence, {
      area: 'two-memfd',
      step: 'resident-bytes',
      key: 'memory.cachestat',
      needs: 'a memfd',
      found: () => 'cachestat counts the pages of a memfd',
      since: '6.5',
    }),
  ];
}

/** Huge pages, and how much memory may be pinned. */
export function memoryRows(evidence: Evidence): readonly ProbeRow[] {
  return [
    ...HUGE_PAGES.map((size) => hugePagesRow(evidence, size)),
    modeRow(evidence, 'thp', '/sys/kernel/mm/transparent_hugepage/enabled', 'madvise'),
    modeRow(evidence, 'thp-shmem', '/sys/kernel/mm/transparent_hugepage/shmem_enabled', 'advise'),
    memlockRow(evidence),
  ];
}

function hugePagesRow({ files }: Evidence, { step, name, folder, unit }: (typeof HUGE_PAGES)[number]): ProbeRow {
  const base = `/sys/kernel/mm/hugepages/${folder}`;
  const total = files.number(`${base}/nr_hugepages`);
  const free = files.number(`${base}/free_hugepages`);
  const row = { area: AREA, step };
  if (total === undefined || free === undefined) {
    return { ...row, works: false, found: `this kernel or CPU has no huge pages of ${name} (no ${base})` };
  }
  const found = `${total} reserved, ${free} free`;
  if (free > 0) return { ...row, works: true, found: `${found} (${formatSize(free * unit)})` };
  return { ...row, works: false, found, remedy: `as root: echo COUNT > ${base}/nr_hugepages` };
}

/** A sysfs file that lists its modes with the chosen one in brackets; `onRequest` is the mode that lets programs ask for huge pages. */
function modeRow(evidence: Evidence, step: string, path: string, onRequest: string): ProbeRow {
  const row = { area: AREA, step };
  const text = evidence.files.text(path);
  const mode = /\[(\w+)\]/.exec(text ?? '')?.[1];
  if (mode === undefined) {
    const off = isOff(evidence, 'CONFIG_TRANSPARENT_HUGEPAGE');
    return { ...row, works: false, found: off ? 'CONFIG_TRANSPARENT_HUGEPAGE is off' : `no ${path}` };
  }
  const works = mode !== 'never' && mode !== 'deny';
  return works
    ? { ...row, works, found: mode }
    : { ...row, works, found: mode, remedy: `as root: echo ${onRequest} > ${path}` };
}

/** RLIMIT_MEMLOCK, which VFIO and iommufd charge pinned memory to. */
function memlockRow({ files }: Evidence): ProbeRow {
  const row = { area: AREA, step: 'memlock' };
  const soft = /^Max locked memory\s+(\S+)/m.exec(files.text('/proc/self/limits') ?? '')?.[1];
  if (soft === undefined) return { ...row, works: null, found: 'no /proc/self/limits' };
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(files.text('/proc/self/status') ?? '')?.[1];
  const mayLock = capabilities !== undefined && ((BigInt(`0x${capabilities}`) >> CAP_IPC_LOCK) & 1n) === 1n;
  if (soft === 'unlimited') return { ...row, works: true, found: 'unlimited' };
  const limit = formatSize(Number(soft));
  if (mayLock) return { ...row, works: true, found: `${limit}, and CAP_IPC_LOCK, which type1 lets past it` };
  return {
    ...row,
    works: false,
    found: `${limit}: pinning more than that for DMA gives ENOMEM`,
    remedy: 'ulimit -l unlimited (as root, or set memlock in /etc/security/limits.conf), or run with CAP_IPC_LOCK',
  };
}
