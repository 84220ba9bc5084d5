import { opCode, type OpName } from '../../native/index.ts';
import { MAP_GPA_PRIVATE } from '../../capture/request.ts';
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import { TraceWriter } from '../../capture/trace/writer.ts';

const PAGE = 4096;
const MIB = 2 ** 20;

/** Metadata that is the same on every machine and in every version. */
export const SAMPLE_METADATA: TraceMetadata = {
  format: { major: 1, minor: 0 },
  tool: { name: 'cvmtrace', version: '0.1.0' },
  source: 'run',
  command: ['cvmtrace', 'run', 'boot', '-o', 'boot.arrow'],
  clock: { name: 'CLOCK_MONOTONIC', baseNs: '1000000000', wallOffsetNs: '1750000000000000000' },
  host: {
    kernel: { release: '6.18.0', version: '#1 SMP', config: { CONFIG_KVM_GUEST_MEMFD: 'y' } },
    cpu: { model: 'Test CPU', logical: 2 },
    memoryBytes: 24 * 2 ** 30,
    hypervisor: null,
    emulated: false,
    tee: null,
    iommu: null,
  },
  guest: {
    memoryBytes: 64 * MIB,
    vcpus: 2,
    vmType: 'default',
    requests: 'generated',
    slots: [{ gpa: 0, len: 64 * MIB, offset: 0 }],
  },
  workload: { name: 'boot', seed: 1, parameters: { memory: 64 * MIB } },
  strategy: { name: 'upm-eager', axes: { discard: 'eager' } },
  backend: { name: 'guest-memfd', standIn: false },
  leftOut: [{ step: 'attributes', errno: 'ENOTTY', reason: 'KVM_SET_MEMORY_ATTRIBUTES does not work on this VM' }],
};

interface Row {
  readonly op: OpName;
  readonly ts_ns: number;
  readonly dur_ns?: number;
  readonly vcpu?: number;
  readonly obj?: number;
  readonly gpa?: number;
  readonly offset?: number;
  readonly len?: number;
  readonly attrs?: number;
  readonly flags?: number;
  readonly errno?: number;
  readonly result?: number;
  readonly detail?: string;
}

/** A small boot: the firmware flips pages to shared and back, the kernel shares a buffer of 8 MiB and one allocation fails. */
function sampleRows(): Row[] {
  const rows: Row[] = [
    { op: 'kvm_create_vm', ts_ns: 1_000, dur_ns: 900_000, obj: 1, attrs: 0 },
    { op: 'kvm_create_guest_memfd', ts_ns: 902_000, dur_ns: 20_000, obj: 3, len: 64 * MIB, flags: 0 },
    { op: 'ram_create', ts_ns: 923_000, dur_ns: 15_000, obj: 2, len: 64 * MIB, flags: 1, detail: 'shared' },
    { op: 'kvm_set_user_memory_region2', ts_ns: 940_000, dur_ns: 60_000, obj: 1, gpa: 0, offset: 0, len: 64 * MIB },
    { op: 'mark', ts_ns: 1_000_000, detail: 'firmware' },
  ];
  let tsNs = 1_100_000;
  const convert = (vcpu: number, gpa: number, len: number, toPrivate: boolean, costNs: number, errno = 0): void => {
    const discard = toPrivate ? 'ram_punch_hole' : 'gmem_punch_hole';
    const allocate = toPrivate ? 'gmem_allocate' : 'ram_allocate';
    const range = { vcpu, gpa, offset: gpa, len };
    const attrs = toPrivate ? MAP_GPA_PRIVATE : 0;
    rows.push(
      {
        op: 'exit_map_gpa_range',
        ts_ns: tsNs,
        dur_ns: costNs,
        vcpu,
        gpa,
        len,
        attrs,
        result: errno === 0 ? 0 : -errno,
      },
      { op: discard, ts_ns: tsNs + 100, dur_ns: costNs / 2, obj: toPrivate ? 2 : 3, ...range },
      { op: allocate, ts_ns: tsNs + 100 + costNs / 2, dur_ns: costNs / 4, obj: toPrivate ? 3 : 2, ...range, errno },
    );
    tsNs += costNs * 2;
  };
  for (let i = 0; i < 40; i++) {
    const gpa = 16 * MIB + (i % 8) * 2 * PAGE;
    const len = i % 3 === 0 ? 2 * PAGE : PAGE;
    convert(0, gpa, len, false, 4_000 + i * 100);
    rows.push({ op: 'ram_touch', ts_ns: tsNs, dur_ns: 500, vcpu: 0, obj: 2, gpa, offset: gpa, len, flags: 1 });
    tsNs += 1_000;
    convert(0, gpa, len, true, 6_000 + i * 100);
  }
  rows.push({ op: 'mark', ts_ns: tsNs, detail: 'kernel' });
  tsNs += 1_000;
  convert(1, 32 * MIB, 8 * MIB, false, 2_400_000);
  convert(1, 36 * MIB, MIB, true, 200_000, 28);
  rows.push({ op: 'lost', ts_ns: tsNs, len: 7 });
  return rows;
}

/** Writes the sample trace, the same on every machine. */
export async function writeSampleTrace(path: string, metadata: TraceMetadata = SAMPLE_METADATA): Promise<void> {
  const rows = sampleRows();
  const writer = TraceWriter.create(path, metadata);
  const column = (name: 'ts_ns' | 'dur_ns' | 'gpa' | 'offset' | 'len' | 'attrs' | 'flags'): BigUint64Array =>
    BigUint64Array.from(rows, (row) => BigInt(row[name] ?? 0));
  const valid = (name: keyof Row): Uint8Array => {
    const bits = new Uint8Array(Math.ceil(rows.length / 8));
    rows.forEach((row, i) => {
      if (row[name] !== undefined) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    });
    return bits;
  };
  const nullable = ['dur_ns', 'vcpu', 'obj', 'gpa', 'offset', 'len', 'attrs', 'flags', 'result'] as const;
  writer.append({
    rows: rows.length,
    op: Uint8Array.from(rows, (row) => opCode(row.op)),
    errno: Uint16Array.from(rows, (row) => row.errno ?? 0),
    columns: {
      ts_ns: column('ts_ns'),
      dur_ns: column('dur_ns'),
      gpa: column('gpa'),
      offset: column('offset'),
      len: column('len'),
      attrs: column('attrs'),
      flags: column('flags'),
      vcpu: Uint16Array.from(rows, (row) => row.vcpu ?? 0),
      obj: Uint32Array.from(rows, (row) => row.obj ?? 0),
      result: BigInt64Array.from(rows, (row) => BigInt(row.result ?? 0)),
    },
    validity: Object.fromEntries(nullable.map((name) => [name, valid(name)])),
    detail: new Map(rows.flatMap((row, i) => (row.detail === undefined ? [] : [[i, row.detail] as const]))),
    pid: 100,
    tid: 101,
  });
  await writer.finish({ exitStatus: 0, lostEvents: 7, tsNs: 20_000_000n });
}
