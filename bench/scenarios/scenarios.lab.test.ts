/** All scenarios in the lab, from outside: two machines, and what the command line says and leaves behind. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { DIST } from '../../capture/trace/testing/sample.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import type { Cell, ReportTable, ScenarioReport } from './index.ts';

const run = promisify(execFile);
/** A boot, and a few scenarios on an emulated CPU. */
const LIMIT_MS = 400_000;

interface Play {
  readonly scenario: string;
  readonly options: string;
}

/** Plays by the name of their files. */
type Plays = Readonly<Record<string, Play>>;

interface Outcome {
  readonly status: number;
  readonly report: ScenarioReport;
  readonly trace: string;
}

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

/** Boots a machine, runs the scenarios one after the other, and reads what they printed. The lab's device has the only group of VFIO. */
async function playInLab(iommu: string, plays: Plays): Promise<Map<string, Outcome>> {
  const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  folders.push(folder);
  const script = Object.entries(plays).map(
    ([name, { scenario, options }]) =>
      `cvmtrace run --scenario ${scenario} ${options} -o ${folder}/${name}.arrow --json >${folder}/${name}.json; echo $? >${folder}/${name}.status`,
  );
  const shell = ['device=$(basename /dev/vfio/[0-9]*)', ...script].join('\n');
  const { stderr } = await run(
    process.execPath,
    [join(DIST, 'cli/main.js'), 'lab', 'run', '--iommu', iommu, '--share', folder, '--', 'sh', '-c', shell],
    { cwd: PACKAGE_ROOT, timeout: LIMIT_MS },
  );
  return new Map(
    Object.keys(plays).map((name) => {
      const read = (suffix: string): string => readFileSync(join(folder, `${name}.${suffix}`), 'utf8');
      const json = read('json');
      if (json === '') throw new Error(`${name}: ${stderr}`);
      const report = JSON.parse(json) as ScenarioReport;
      return [name, { status: Number(read('status')), report, trace: join(folder, `${name}.arrow`) }];
    }),
  );
}

async function rows(trace: string, sql: string): Promise<readonly (readonly unknown[])[]> {
  await using analysis = await openAnalysis([trace]);
  return (await analysis.query(sql)).rows;
}

/** Calls that failed, by operation and errno. */
async function failures(trace: string): Promise<Record<string, number>> {
  const found = await rows(trace, `select op::varchar, errno, count(*) from events where errno <> 0 group by all`);
  return Object.fromEntries(found.map(([op, errno, count]) => [`${String(op)} ${String(errno)}`, Number(count)]));
}

function failed({ checks }: ScenarioReport): string[] {
  return checks.filter(({ ok }) => !ok).map(({ what, got, expected }) => `${what}: ${got}, not ${expected}`);
}

function got({ checks }: ScenarioReport, what: string): string | undefined {
  return checks.find((check) => check.what === what)?.got;
}

function column({ columns, rows: cells }: ReportTable, title: string): Cell[] {
  const index = columns.findLastIndex((candidate) => candidate.title === title);
  return cells.map((row) => row[index] ?? null);
}

function outcomeOf(outcomes: Map<string, Outcome>, name: string): Outcome {
  const outcome = outcomes.get(name);
  if (!outcome) throw new Error(`nobody played ${name}`);
  return outcome;
}

const [ENOENT, EEXIST, EINVAL, ENOSPC] = [2, 17, 22, 28] as const;
const MIB = 2 ** 20;

describe('scenarios on a machine with a virtio IOMMU', () => {
  let outcomes: Map<string, Outcome>;
  beforeAll(async () => {
    outcomes = await playInLab('virtio', {
      mock: { scenario: 'shared-device-assignment', options: '--dma mock --param rounds=1' },
      nested: { scenario: 'nested', options: '--device $device --param repeats=10' },
      'in-place': { scenario: 'in-place', options: '' },
      discard: { scenario: 'discard', options: '--param transactions=150 rounds=2' },
    });
  }, LIMIT_MS);

  it.each(['mock', 'nested', 'in-place', 'discard'])('%s: all checks hold, on an emulated host', (name) => {
    const { status, report } = outcomeOf(outcomes, name);
    expect(failed(report)).toEqual([]);
    expect(status).toBe(0);
    expect(report.emulated).toBe(true);
  });

  it('shared-device-assignment: the page table of the mock is asked', async () => {
    const { report, trace } = outcomeOf(outcomes, 'mock');
    expect(report.leftOut.map(({ step }) => step)).toContain('iommu-hardware');
    const [asked] = await rows(
      trace,
      `select count(*) filter (where errno = 0) > 0, count(*) filter (where errno <> 0) > 0 from events
       where op = 'iommufd_test_md_check_map'`,
    );
    expect(asked).toEqual([true, true]);
    const converted = await rows(
      trace,
      `select count(*) > 100, count(*) filter (where errno <> 0) from events where op = 'kvm_set_memory_attributes'`,
    );
    expect(converted).toEqual([[true, 0n]]);
  });

  it('nested: every size of invalidation is done, and every fault answered', async () => {
    const { report, trace } = outcomeOf(outcomes, 'nested');
    expect([1, 16, 256].map((entries) => got(report, `entries done of ${entries}`))).toEqual(['1', '16', '256']);
    expect(report.leftOut).toMatchObject([{ step: 'pasid-attach', errno: 'EINVAL' }]);
    const answered = await rows(
      trace,
      `select sum(result)::integer from events where op = 'iommufd_fault_respond' and errno = 0`,
    );
    expect(answered).toEqual([[10]]);
    expect(Math.min(...column(report.tables[0] as ReportTable, 'ratio to the cheapest').map(valueOf))).toBe(1);
  });

  it('in-place: what a punch leaves with a pin and with an IOMMU', () => {
    const { report } = outcomeOf(outcomes, 'in-place');
    // This kernel's guest_memfd cannot be mapped, so that there is nothing to convert in place.
    expect(report.leftOut).toContainEqual(expect.objectContaining({ step: 'gmem-mmap', errno: 'EINVAL' }));
    const table = report.tables[0] as ReportTable;
    expect(column(table, 'held by')).toEqual(['a mapping of the host', 'a long-term pin', 'a mapping of an IOMMU']);
    expect(column(table, 'pages pinned after it')).toEqual([0, 1, 1]);
    expect(column(table, 'the holder has')[2]).toBe('another page');
  });

  it('discard: a running guest, and the more is discarded the longer it takes', async () => {
    const { report, trace } = outcomeOf(outcomes, 'discard');
    expect(report.leftOut.map(({ step }) => step)).not.toContain('private-touch');
    const [kinds] = await rows(
      trace,
      `select count(*) filter (where op = 'guest_touch') > 0, count(*) filter (where errno <> 0) from events`,
    );
    expect(kinds).toEqual([true, 0n]);
    expect(column(report.tables[0] as ReportTable, 'published')).toEqual([32e9, 103e9, 68e9, null]);
  });
});

describe('scenarios on a machine with VT-d', () => {
  let outcomes: Map<string, Outcome>;
  beforeAll(async () => {
    const assignment = (dma: string): Play => ({
      scenario: 'shared-device-assignment',
      options: `--dma ${dma} --device $device --param rounds=1`,
    });
    outcomes = await playInLab('vtd', {
      type1: assignment('type1'),
      iommufd: assignment('iommufd'),
      'iommufd-compat': assignment('iommufd-compat'),
      'live-update': { scenario: 'live-update', options: '--device $device --param rounds=2' },
    });
  }, LIMIT_MS);

  it.each(['type1', 'iommufd', 'iommufd-compat', 'live-update'])('%s: all checks hold', (name) => {
    const { status, report } = outcomeOf(outcomes, name);
    expect(failed(report)).toEqual([]);
    expect(status).toBe(0);
  });

  it.each([
    ['type1', 'vfio_unmap_dma', EINVAL, '65536 bytes unmapped'],
    ['iommufd', 'iommufd_ioas_unmap', ENOENT, 'ENOENT'],
    ['iommufd-compat', 'vfio_unmap_dma', ENOENT, '0 bytes unmapped'],
  ])(
    '%s: an unmap that does not fit fails as the interface says, and is in the trace',
    async (name, op, errno, first) => {
      const { report, trace } = outcomeOf(outcomes, name);
      const byErrno = await failures(trace);
      const map = op.replace('unmap', 'map');
      expect(Object.keys(byErrno).filter((key) => key.startsWith(op))).toEqual([`${op} ${errno}`]);
      expect(byErrno[`${map} ${EEXIST}`]).toBeGreaterThan(0);
      // Whether the mapping before the one that did not fit is still there.
      expect(got(report, 'after it, unmap of the 64K')).toBe(first);
    },
  );

  it('each granularity: only 4k leaves nothing stale, and it makes a mapping per page', () => {
    for (const name of ['type1', 'iommufd', 'iommufd-compat']) {
      const [whole, partial] = outcomeOf(outcomes, name).report.tables;
      if (!whole || !partial) throw new Error('two tables');
      expect(column(whole, 'granularity')).toEqual(['4k', '64k', '2m', 'request']);
      expect(column(whole, 'peak mappings')).toEqual([2048, 128, 4, 1]);
      const [stale4k, ...others] = column(partial, 'stale').map(Number);
      expect(stale4k).toBe(0);
      for (const stale of others) expect(stale).toBeGreaterThan(MIB);
    }
  });

  it('type1: dma_entry_limit is met, undone and put back', async () => {
    const { report, trace } = outcomeOf(outcomes, 'type1');
    expect(got(report, 'the mapping after them')).toBe('ENOSPC');
    expect(got(report, 'dma_entry_limit afterwards')).toBe('65535');
    expect((await failures(trace))[`vfio_map_dma ${ENOSPC}`]).toBe(1);
  });

  it('iommufd-compat: without large pages a mapping is cut', () => {
    const { report } = outcomeOf(outcomes, 'iommufd-compat');
    for (const way of ['SET_IOMMU TYPE1', 'OPTION HUGE_PAGES 0'])
      expect(got(report, `${way}: unmap of 68K at 0K`)).toBe('69632 bytes unmapped');
  });

  it('live-update: a new address is much cheaper than mapping again, and what 6.12 lacks has a name', () => {
    const { report } = outcomeOf(outcomes, 'live-update');
    const [type1] = report.tables;
    if (!type1) throw new Error('a table of type1');
    const [atOnce, oneByOne] = column(type1, 'ratio to unmap and map, one by one').map(valueOf);
    expect(Math.max(atOnce ?? NaN, oneByOne ?? NaN)).toBeLessThan(1);
    expect(report.leftOut).toMatchObject([
      { step: 'map-file', errno: 'ENOTTY' },
      { step: 'change-process', errno: 'ENOTTY' },
    ]);
  });
});

function valueOf(cell: Cell): number {
  return typeof cell === 'object' && cell !== null ? cell.value : Number(cell);
}
