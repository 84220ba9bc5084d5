/** KVM's own selftests and QEMU with a device, recorded and held against what strace sees of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { labShell, testFolder } from '../../bench/lab/testing/run-lab.ts';
import { kvmSelftests } from '../../bench/lab/testing/selftests.ts';
import { straceCalls, type StraceCall } from '../../bench/lab/testing/strace-calls.ts';

const folder = testFolder();
const STRACE = 'strace -f -X raw -yy -e trace=ioctl,fallocate';

/** Requests on descriptors of KVM, by number (linux/kvm.h). */
const KVM_OPS: Readonly<Record<string, string>> = {
  '0xae01': 'kvm_create_vm',
  '0xae41': 'kvm_create_vcpu',
  '0x4020ae46': 'kvm_set_user_memory_region',
  '0x40a0ae49': 'kvm_set_user_memory_region2',
  '0x4020aed2': 'kvm_set_memory_attributes',
  '0xc040aed4': 'kvm_create_guest_memfd',
  '0xc040aed5': 'kvm_pre_fault_memory',
};

/** Requests on a VFIO container; the same numbers mean other things on a device. */
const CONTAINER_OPS: Readonly<Record<string, string>> = {
  '0x3b66': 'vfio_set_iommu',
  '0x3b70': 'vfio_iommu_get_info',
  '0x3b71': 'vfio_map_dma',
  '0x3b72': 'vfio_unmap_dma',
};

interface Row {
  readonly op: string;
  readonly offset: number | null;
  readonly len: number | null;
  readonly errno: number;
}

async function query(name: string, sql: string): Promise<unknown[][]> {
  await using analysis = await openAnalysis([join(folder, name)]);
  return (await analysis.query(sql)).rows.map((row) =>
    row.map((value) => (typeof value === 'bigint' ? Number(value) : value)),
  );
}

async function recorded(name: string): Promise<Row[]> {
  const rows = await query(name, `select op::varchar, "offset", len, errno from events order by seq`);
  return rows.map(([op, offset, len, errno]) => ({
    op: op as string,
    offset: offset as number | null,
    len: len as number | null,
    errno: Number(errno),
  }));
}

/** How often each operation had each outcome: "kvm_create_vm 0" -> 1. */
function outcomes(calls: readonly { readonly op: string; readonly errno: number }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op, errno } of calls) counts[`${op} ${errno}`] = (counts[`${op} ${errno}`] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort());
}

/** The calls of a log that a recording has rows of. */
function expected(calls: readonly StraceCall[]): Row[] {
  return calls.flatMap(({ name, path, args, errno }): Row[] => {
    const none = { offset: null, len: null, errno };
    if (name === 'ioctl') {
      const op =
        KVM_OPS[args[1] ?? ''] ?? (path.startsWith('/dev/vfio/vfio') ? CONTAINER_OPS[args[1] ?? ''] : undefined);
      return op === undefined ? [] : [{ op, ...none }];
    }
    const side = path.includes('kvm-gmem') ? 'gmem' : 'ram';
    const op = (Number(args[1]) & 2) === 0 ? `${side}_allocate` : `${side}_punch_hole`;
    return [{ op, offset: Number(args[2]), len: Number(args[3]), errno }];
  });
}

function onlyOf(rows: readonly Row[], ops: ReadonlySet<string>): Row[] {
  return rows.filter(({ op }) => ops.has(op));
}

const COUNTED = new Set([
  ...Object.values(KVM_OPS),
  ...Object.values(CONTAINER_OPS),
  ...['gmem_allocate', 'gmem_punch_hole', 'ram_allocate', 'ram_punch_hole'],
]);

function isFallocate({ op }: Row): boolean {
  return op.endsWith('_allocate') || op.endsWith('_punch_hole');
}

/** Returns of KVM_RUN in a log. */
function kvmRuns(calls: readonly StraceCall[]): number {
  return calls.filter(({ name, args }) => name === 'ioctl' && args[1] === '0xae80').length;
}

let selftests: string;
beforeAll(async () => {
  selftests = await kvmSelftests();
});

describe("KVM's selftests", () => {
  const tests = {
    guest_memfd: 'guest_memfd_test',
    pre_fault: 'pre_fault_memory_test',
    conversions: 'x86_64/private_mem_conversions_test',
    exits: 'x86_64/private_mem_kvm_exits_test',
  };

  it('recorded once and counted by strace in a second run, make the same calls with the same ranges and errnos', async () => {
    const script = Object.entries(tests).map(
      ([name, test]) => `
        cvmtrace record --quiet -o ${name}.arrow -- ${selftests}/${test} || exit $?
        ${STRACE} -o ${name}.strace ${selftests}/${test} || exit $?`,
    );
    const { status, stderr } = labShell(
      `trace=/sys/kernel/tracing
       echo 1 > $trace/events/kvm/kvm_hypercall/enable
       ${script.join('\n')}
       cat $trace/trace > ftrace.txt`,
      { cwd: folder },
    );
    expect(status, stderr).toBe(0);
    for (const name of Object.keys(tests)) {
      const calls = straceCalls(readFileSync(join(folder, `${name}.strace`), 'utf8'));
      const rows = await recorded(`${name}.arrow`);
      const counted = onlyOf(rows, COUNTED);
      expect(outcomes(counted), name).toEqual(outcomes(expected(calls)));
      expect(counted.length, name).toBeGreaterThan(5);
      expect(counted.filter(isFallocate), name).toEqual(expected(calls).filter(isFallocate));
      const [[runs] = []] = await query(`${name}.arrow`, `select sum(result) from events where op = 'kvm_run'`);
      expect(runs ?? 0, name).toBe(kvmRuns(calls));
    }
    // Both runs of the test are in the kernel's log.
    const hypercalls = readFileSync(join(folder, 'ftrace.txt'), 'utf8').match(/kvm_hypercall: nr 0xc /g)?.length ?? 0;
    const [[exits] = []] = await query(
      'conversions.arrow',
      `select count(*) from events where op = 'exit_map_gpa_range' and dur_ns > 0 and result = 0`,
    );
    expect(exits).toBeGreaterThan(20);
    expect(hypercalls).toBe(2 * Number(exits));
  });

  it('has the calls of an exit inside it, with its vCPU', async () => {
    const rows = await query(
      'conversions.arrow',
      `select outcome, count(*), sum(calls)::integer, count(*) filter (where other_ns < 0) from conversions where trigger = 'exit_map_gpa_range' group by 1`,
    );
    const ok = rows.find(([outcome]) => outcome === 'ok');
    expect(Number(ok?.[2])).toBeGreaterThanOrEqual(Number(ok?.[1]));
    expect(ok?.[3]).toBe(0);
    const [[without] = []] = await query(
      'conversions.arrow',
      `select count(*) from events where op = 'kvm_set_memory_attributes' and vcpu is null
       and seq > (select min(seq) from events where op = 'exit_map_gpa_range')`,
    );
    expect(without).toBe(0);
  });

  it('replays the recording of a selftest to the same final state', () => {
    const { status, stdout, stderr } = labShell(
      'cvmtrace replay conversions.arrow --strategy upm-eager --backend sw-protected --runs 1 --json -o runs',
      { cwd: folder },
    );
    expect(status, stderr).toBe(0);
    const report = JSON.parse(stdout) as {
      recorded: { requests: number; skipped: Record<string, number> };
      strategies: { name: string; finalStateEqual: boolean; failures: unknown[] }[];
    };
    expect(report.strategies).toMatchObject([{ name: 'upm-eager', finalStateEqual: true, failures: [] }]);
    expect(report.recorded.requests).toBeGreaterThan(20);
    expect(Object.keys(report.recorded.skipped)).toEqual(['converted nothing']);
  });

  it('memslot_perf_test, whose number of calls depends on time, is seen by both in one run', async () => {
    const { status, stderr } = labShell(
      `cvmtrace record --quiet -o slots.arrow -- ${STRACE} -o slots.strace ${selftests}/memslot_perf_test -l 1 -s 16 -f 3 -e 4`,
      { cwd: folder },
    );
    expect(status, stderr).toBe(0);
    const calls = expected(straceCalls(readFileSync(join(folder, 'slots.strace'), 'utf8')));
    const rows = onlyOf(await recorded('slots.arrow'), COUNTED);
    expect(rows.length).toBeGreaterThan(100);
    expect(outcomes(rows)).toEqual(outcomes(calls));
  });
});

describe('QEMU with -accel kvm and a device', () => {
  it('is recorded with every map and unmap that strace sees in the same run', async () => {
    const qemu =
      'qemu-system-x86_64 -accel kvm -cpu host -machine q35 -m 64M -nodefaults -display none -serial none -monitor stdio -device vfio-pci,host=0000:00:10.0';
    const { status, stderr } = labShell(
      `trace=/sys/kernel/tracing
       echo mono > $trace/trace_clock
       for event in iommu/map iommu/unmap; do echo 1 > $trace/events/$event/enable; done
       (sleep 15; echo quit) | cvmtrace record --quiet -o qemu.arrow -- ${STRACE} -o qemu.strace ${qemu} > /dev/null || exit $?
       cat $trace/trace > iommu.txt
       cvmtrace import iommu.txt --quiet --clock mono --align qemu.arrow -o iommu.arrow`,
      { cwd: folder, options: ['--iommu', 'vtd'] },
    );
    expect(status, stderr).toBe(0);
    const calls = straceCalls(readFileSync(join(folder, 'qemu.strace'), 'utf8'));
    const rows = onlyOf(await recorded('qemu.arrow'), COUNTED);
    expect(outcomes(rows)).toEqual(outcomes(expected(calls)));
    expect(rows.filter(({ op }) => op === 'vfio_map_dma').length).toBeGreaterThan(5);
    const [[runs, exits, named] = []] = await query(
      'qemu.arrow',
      `select sum(result) filter (where op = 'kvm_run'), sum(result) filter (where op = 'exit_other'),
              count(*) filter (where op = 'vfio_map_dma' and (iova is null or hva is null or len is null or obj is null)) from events`,
    );
    expect(Math.abs(Number(runs) - kvmRuns(calls))).toBeLessThanOrEqual(1);
    expect(exits).toBe(runs);
    expect(named).toBe(0);
  });

  it("is on one time base with the kernel's events: each map of the VMM has its bytes in iommu:map inside it", async () => {
    await using analysis = await openAnalysis([join(folder, 'qemu.arrow'), join(folder, 'iommu.arrow')]);
    const { rows } = await analysis.query(`
      select c.op::varchar, count(*), count(*) filter (where k.bytes is distinct from c.len) from
        (from events where trace = 0 and op in ('vfio_map_dma', 'vfio_unmap_dma') and errno = 0) c
      left join (
        select c.seq, sum(k.len) as bytes
        from (from events where trace = 1) k
        asof join (from events where trace = 0 and op in ('vfio_map_dma', 'vfio_unmap_dma')) c on k.tid = c.tid and k.ts_ns >= c.ts_ns
        where k.ts_ns < c.ts_ns + c.dur_ns
        group by c.seq
      ) k using (seq)
      group by 1 order by 1`);
    expect(rows.map(([op]) => op)).toEqual(['vfio_map_dma', 'vfio_unmap_dma']);
    for (const [op, calls, other] of rows) {
      expect(Number(calls), op as string).toBeGreaterThan(5);
      expect(other, op as string).toBe(0n);
    }
  });
});
