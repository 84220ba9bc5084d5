/** A guest that asks, with its memory mapped for a device, held against what strace and the kernel's tracepoints count in the same run. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { labShell, testFolder } from '../../bench/lab/testing/run-lab.ts';

const folder = testFolder();
const SMALL = '--param transactions=60 firmware-memory=16M swiotlb=2M transfers=20 partial=2M think=1us';

/** Request numbers as strace -X raw prints them (linux/kvm.h, linux/iommufd.h). */
const REQUESTS = { kvm_set_memory_attributes: '0x4020aed2', iommufd_ioas_map: '0x3b85', iommufd_ioas_unmap: '0x3b86' };

async function query(name: string, sql: string): Promise<unknown[][]> {
  await using analysis = await openAnalysis([join(folder, name)]);
  return (await analysis.query(sql)).rows.map((row) =>
    row.map((value) => (typeof value === 'bigint' ? Number(value) : value)),
  );
}

async function counts(name: string): Promise<Record<string, number>> {
  const rows = await query(name, 'select op::varchar, count(*) from events where errno = 0 group by 1');
  return Object.fromEntries(rows.map(([op, count]) => [String(op), Number(count)]));
}

describe('run --guest with a device', () => {
  it('leaves a trace whose calls are those that strace and the tracepoints count', async () => {
    const { status, stderr } = labShell(
      `
      trace=/sys/kernel/tracing
      echo 65536 > $trace/buffer_size_kb
      echo 'nr == 12' > $trace/events/kvm/kvm_hypercall/filter
      for event in iommu/map iommu/unmap kvm/kvm_hypercall; do echo 1 > $trace/events/$event/enable; done
      strace -f -X raw -e trace=ioctl -o strace.txt cvmtrace run boot ${SMALL} --memory 128M --backend sw-protected --guest --vcpus 2 \
        --dma iommufd --device 0000:00:10.0 -o x.arrow || exit $?
      echo 0 > $trace/tracing_on
      cat $trace/trace > ftrace.txt
      `,
      { cwd: folder },
    );
    expect(status, stderr).toBe(0);
    const counted = await counts('x.arrow');
    const strace = readFileSync(join(folder, 'strace.txt'), 'utf8').split('\n');
    for (const [op, request] of Object.entries(REQUESTS)) {
      // One line a call: an interrupted one has its request number only where it begins.
      expect(counted[op], op).toBe(
        strace.filter((line) => line.includes(`, ${request}, `) || line.includes(`, ${request} `)).length,
      );
      expect(counted[op], op).toBeGreaterThan(100);
    }
    const ftrace = readFileSync(join(folder, 'ftrace.txt'), 'utf8').split('\n');
    const ours = ftrace.filter((line) => line.includes(' map: IOMMU') || line.includes(' unmap: IOMMU'));
    const sum = (what: string): number =>
      ours
        .filter((line) => line.includes(what))
        .reduce((bytes, line) => bytes + Number(/ size=(\d+)/.exec(line)?.[1]), 0);
    const [[mapped, unmapped] = []] = await query(
      'x.arrow',
      `select sum(len) filter (where op = 'iommufd_ioas_map'), sum(result) filter (where op = 'iommufd_ioas_unmap') from events where errno = 0`,
    );
    // Each map is of one page, and so one event; the end of the run unmaps what is left.
    expect(ours.filter((line) => line.includes(' map: '))).toHaveLength(counted['iommufd_ioas_map'] ?? NaN);
    expect(sum(' map: ')).toBe(mapped);
    expect(sum(' unmap: ')).toBe(mapped);
    expect(Number(unmapped)).toBeLessThan(Number(mapped));
    expect(ftrace.filter((line) => line.includes('kvm_hypercall: nr 0xc '))).toHaveLength(
      // One is the trial that finds out whether a guest runs.
      (counted['exit_map_gpa_range'] ?? NaN) + 1,
    );
    expect(
      (
        await query(
          'x.arrow',
          `select count(distinct vcpu), count(distinct tid) from events where op = 'exit_map_gpa_range'`,
        )
      )[0],
    ).toEqual([2, 2]);
  });

  it('has memory faults of the guest, each answered by a slot', async () => {
    const { status, stderr } = labShell(
      'cvmtrace run first-touch --param chunks=12 --memory 64M --backend sw-protected --guest --vcpus 2 --pace asap -o f.arrow',
      { cwd: folder },
    );
    expect(status, stderr).toBe(0);
    expect(await counts('f.arrow')).toMatchObject({
      exit_memory_fault: 24,
      kvm_set_user_memory_region2: 24,
      guest_touch: 24,
    });
    expect(
      await query('f.arrow', `select distinct direction, outcome, "trigger" from conversions where "trigger" <> 'vmm'`),
    ).toEqual([['to_private', 'ok', 'exit_memory_fault']]);
  });

  it('replays under every strategy, two interfaces side by side, and says where mappings broke', () => {
    const { status, stdout, stderr } = labShell(
      `cvmtrace run partial --param size=4M --memory 64M --pace asap -o p.arrow --quiet >&2 &&
       cvmtrace replay p.arrow --runs 1 --quiet --json --device 3 --dma iommufd \
         --strategy qemu-10.1,dma-2m,cloud-hypervisor-53,lazy-discard,qemu-10.1,interface=type1,dma-2m,interface=type1`,
      { cwd: folder },
    );
    expect(status, stderr).toBe(0);
    const report = JSON.parse(stdout) as {
      emulated: boolean;
      strategies: {
        name: string;
        finalStateEqual: boolean;
        failures: { op: string; errno: number }[];
        dma: { interface: string; peakMappings: number };
        memory: { sampled: { samples: number; disagreements: number } };
      }[];
    };
    expect(report.emulated).toBe(true);
    const of = (name: string) => report.strategies.find((strategy) => strategy.name === name);
    for (const strategy of report.strategies) expect(strategy.finalStateEqual, strategy.name).toBe(true);
    expect(of('qemu-10.1')).toMatchObject({ failures: [], dma: { interface: 'iommufd', peakMappings: 1024 } });
    expect(of('qemu-10.1')?.memory.sampled).toMatchObject({ disagreements: 0 });
    expect(of('qemu-10.1')?.memory.sampled.samples).toBeGreaterThan(0);
    expect(of('qemu-10.1,interface=type1')).toMatchObject({
      failures: [],
      dma: { interface: 'type1', peakMappings: 1024 },
    });
    // ENOENT of iommufd, EINVAL of type1: an unmap in the middle of a mapping; EEXIST: a map over what it left.
    expect(of('dma-2m')?.failures.map(({ op, errno }) => [op, errno])).toContainEqual(['iommufd_ioas_unmap', 2]);
    expect(of('dma-2m,interface=type1')?.failures.map(({ op, errno }) => [op, errno])).toContainEqual([
      'vfio_unmap_dma',
      22,
    ]);
  });

  it('maps for VFIO on a kernel that has neither guest_memfd nor iommufd, and says what stands in', async () => {
    const { status, stderr } = labShell(
      `cvmtrace run partial --param size=2M --memory 64M --pace asap --dma type1 --device 0000:00:10.0 -o old.arrow`,
      { cwd: folder, options: ['--kernel', '6.1', '--iommu', 'vtd'] },
    );
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('stands in for a guest_memfd');
    expect(await counts('old.arrow')).toMatchObject({ vfio_set_iommu: 1, vfio_map_dma: 512 });
  });

  it('refuses what it must not touch, and says why', () => {
    const { stdout } = labShell(
      `
      try() { "$@" >/dev/null 2>err.txt; echo "$? $(head -1 err.txt)"; }
      try cvmtrace run swiotlb --memory 128M --dma type1 -o a.arrow
      try cvmtrace run swiotlb --memory 128M --dma type1 --device 0000:00:1f.2 -o a.arrow
      try cvmtrace run swiotlb --memory 128M --dma iommufd --device 0000:00:03.0 -o a.arrow
      try cvmtrace run swiotlb --memory 128M --backend snp -o a.arrow
      try cvmtrace run swiotlb --memory 128M --backend tdx -o a.arrow
      try cvmtrace run swiotlb --memory 128M --strategy in-place -o a.arrow
      ls a.arrow* 2>/dev/null
      `,
      { cwd: folder },
    );
    const [noName, noIommu, inUse, snp, tdx, inPlace, ...left] = stdout.trimEnd().split('\n');
    expect(noName).toMatch(/^2 .*--device/);
    expect(noIommu).toMatch(/^69 .*IOMMU/);
    expect(inUse).toMatch(/^69 .*in use by the host's driver virtio-pci/);
    expect(snp).toMatch(/^69 .*type snp: EINVAL/);
    expect(tdx).toMatch(/^69 .*type tdx: EINVAL/);
    expect(inPlace).toMatch(/^69 .*in place/);
    expect(left).toEqual([]);
  });
});
