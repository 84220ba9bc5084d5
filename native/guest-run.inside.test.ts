import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadNative } from './index.ts';
import {
  convert,
  FIRST_VCPU,
  HYPERCALL_PRIVATE,
  MEMORY,
  openGuest,
  PRIVATE,
  slot,
  SPARE,
  touch,
  VM,
  type Operation,
} from './testing/guest.ts';
import { KIB, MIB, rowsOf } from './testing/rows.ts';

const SW_PROTECTED = 1;
const PAGE = 4 * KIB;
const EFAULT = 14;
const EINVAL = 22;
const TRACING = '/sys/kernel/tracing';
const { attempts } = loadNative().probeHost();
const HAS_SW_PROTECTED = attempts['kvm.vm.1']?.errno === 0;
const HAS_CACHESTAT = attempts['memory.cachestat']?.errno === 0;

/** Lines that the kernel's tracepoints wrote while `body` ran. */
async function traced(
  events: readonly { name: string; filter?: string }[],
  body: () => Promise<unknown>,
): Promise<string[]> {
  const file = (path: string) => join(TRACING, path);
  writeFileSync(file('buffer_size_kb'), '8192');
  writeFileSync(file('trace'), '');
  for (const { name, filter } of events) {
    if (filter !== undefined) writeFileSync(file(`events/${name}/filter`), filter);
    writeFileSync(file(`events/${name}/enable`), '1');
  }
  try {
    await body();
  } finally {
    for (const { name } of events) writeFileSync(file(`events/${name}/enable`), '0');
  }
  return readFileSync(file('trace'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

describe.skipIf(!HAS_SW_PROTECTED)('a guest of a VM with private memory', () => {
  test.each([1, 2, 4])('%i vCPUs ask, and the kernel saw each hypercall and ioctl', async (vcpus) => {
    const guest = await openGuest(SW_PROTECTED, vcpus);
    // More requests than one list holds.
    const each = 1500;
    const batches = Array.from({ length: vcpus }, (_, vcpu) =>
      Array.from({ length: each }, (_, i) =>
        convert(((vcpu * each + i) % (MEMORY / PAGE)) * PAGE, PAGE, i % 2 === 0 ? 'private' : 'shared', vcpu),
      ).flat(),
    );
    const results: Awaited<ReturnType<typeof guest.run>> = [];
    const lines = await traced(
      [{ name: 'kvm/kvm_hypercall' }, { name: 'syscalls/sys_enter_ioctl', filter: 'cmd == 0x4020aed2' }],
      async () => results.push(...(await guest.run(batches))),
    );
    const count = (part: string) => lines.filter((line) => line.includes(part)).length;
    expect(count('kvm_hypercall: nr 0xc')).toBe(vcpus * each);
    expect(count('sys_ioctl(')).toBe(vcpus * each);
    expect(new Set(results.map(({ tid }) => tid)).size).toBe(vcpus);
    results.forEach((batch, vcpu) => {
      expect(batch).toMatchObject({ rows: 2 * each, failures: 0, stopped: false });
      const rows = rowsOf(batch);
      rows.forEach((row, i) => {
        if (row.op !== 'exit_map_gpa_range') return;
        const ioctl = rows[i + 1];
        expect(row).toMatchObject({ vcpu, result: 0, errno: 0 });
        expect(row.ts_ns).toBeLessThanOrEqual(ioctl?.ts_ns ?? 0);
        expect((row.ts_ns ?? 0) + (row.dur_ns ?? 0)).toBeGreaterThanOrEqual((ioctl?.ts_ns ?? 0) + (ioctl?.dur_ns ?? 0));
        expect((row.ts_ns ?? 0) + (row.dur_ns ?? 0)).toBeLessThanOrEqual(rows[i + 2]?.ts_ns ?? Infinity);
      });
    });
  });

  test('what it writes is on the side that the memory is on', async () => {
    const guest = await openGuest(SW_PROTECTED, 1);
    const gpa = 2 * MIB;
    await guest.run([[...convert(gpa, 2 * PAGE, 'private'), touch(gpa, 2 * PAGE, true)]]);
    expect(guest.readShared(gpa)).toBe(0);
    if (HAS_CACHESTAT) expect(guest.session.residentBytes(2)).toBe(2 * PAGE);
    await guest.run([[...convert(gpa, PAGE, 'shared'), touch(gpa, 2 * PAGE, true)]]);
    expect(guest.readShared(gpa)).toBe(gpa + 1);
    expect(guest.readShared(gpa + PAGE)).toBe(0);
  });

  test('touches have times between what was before and what is after', async () => {
    const guest = await openGuest(SW_PROTECTED, 1);
    const operations = Array.from({ length: 200 }, (_, i): Operation[] => [
      touch(i * PAGE + 100, PAGE, i % 2 === 0),
      ['mark', {}],
    ]).flat();
    const rows = rowsOf((await guest.run([operations]))[0] ?? expect.fail());
    expect(rows).toHaveLength(400);
    for (const [i, row] of rows.entries()) {
      expect((row.ts_ns ?? 0) + (row.dur_ns ?? 0)).toBeLessThanOrEqual(rows[i + 1]?.ts_ns ?? Infinity);
      if (row.op === 'guest_touch') expect(row).toMatchObject({ result: 2, errno: 0 });
    }
  });

  test('an answer that fails is what the guest is told, and it goes on', async () => {
    const guest = await openGuest(SW_PROTECTED, 1);
    const [batch] = await guest.run([
      [
        ['exit_map_gpa_range', { gpa: 0, len: PAGE, attrs: HYPERCALL_PRIVATE, vcpu: 0, peer: 2 }],
        ['kvm_set_memory_attributes', { obj: VM, gpa: 0, len: PAGE, attrs: 1, flags: 0 }],
        ['ram_create', { obj: 99, len: MIB, flags: 0 }],
        ['ram_create', { obj: 99, len: MIB, flags: 0 }],
        ['exit_map_gpa_range', { gpa: 0, len: PAGE, attrs: HYPERCALL_PRIVATE, vcpu: 0 }],
      ],
    ]);
    const rows = rowsOf(batch ?? expect.fail());
    expect(rows.map(({ errno }) => errno)).toEqual([0, EINVAL, EINVAL, EINVAL, 0]);
    expect(rows[0]?.result).toBe(EINVAL);
    expect(rows[4]?.result).toBe(0);
    expect(batch).toMatchObject({ failures: 3, stopped: false });
  });
});

describe.skipIf(!HAS_SW_PROTECTED)('an implicit conversion', () => {
  // Private by its attribute, and in no slot: the access faults.
  const gpa = 64 * MIB;
  const len = 16 * PAGE;
  const fault: Operation = ['exit_memory_fault', { gpa, len, vcpu: 0, peer: 1 }];
  async function openFaulting() {
    const guest = await openGuest(SW_PROTECTED, 1);
    const made = await guest.perform([
      ['kvm_set_memory_attributes', { obj: VM, gpa, len: 2 * len, attrs: PRIVATE, flags: 0 }],
      ['kvm_create_guest_memfd', { obj: SPARE, peer: VM, len: 2 * len, flags: 0 }],
    ]);
    expect(made.map(({ errno }) => errno)).toEqual([0, 0]);
    return guest;
  }
  const addSlot: Operation = ['kvm_set_user_memory_region2', { ...slot(2, gpa, len, 0), attrs: 2 + SPARE * 2 ** 32 }];

  test('is the exit that KVM makes, and the access is done after it', async () => {
    const guest = await openFaulting();
    const [batch] = await guest.run([[fault, addSlot, touch(gpa, len, false)]]);
    const rows = rowsOf(batch ?? expect.fail());
    expect(rows[0]).toMatchObject({ gpa, len, attrs: PAGE, flags: PRIVATE, result: 0, errno: 0 });
    expect(rows[0]?.dur_ns).toBeGreaterThanOrEqual(rows[1]?.dur_ns ?? Infinity);
    expect(rows[2]).toMatchObject({ result: 16, errno: 0 });
    if (HAS_CACHESTAT) expect(guest.session.residentBytes(SPARE)).toBe(len);
  });

  test('whose answer fails is given up', async () => {
    const guest = await openFaulting();
    const wrong: Operation = ['kvm_set_user_memory_region2', { ...slot(2, gpa, len, 0), attrs: 2 + 77 * 2 ** 32 }];
    const [batch] = await guest.run([[fault, wrong, ['mark', {}], fault, addSlot]]);
    const rows = rowsOf(batch ?? expect.fail());
    expect(rows.map(({ result }) => result)).toEqual([EINVAL, null, null, 0, 0]);
  });

  test('that a touch runs into is a row with the pages before it', async () => {
    const guest = await openFaulting();
    const [batch] = await guest.run([[fault, addSlot, touch(gpa, 2 * len, true), ['mark', {}]]]);
    const rows = rowsOf(batch ?? expect.fail());
    expect(rows[2]).toMatchObject({ errno: EFAULT, result: 16 });
    expect(rows[2]?.dur_ns).toBeGreaterThan(0);
    expect(batch).toMatchObject({ rows: 4, failures: 1 });
  });

  test('with stopAtFailure is the last row', async () => {
    const guest = await openFaulting();
    const [batch] = await guest.run([[touch(gpa, len, true), ['mark', {}]]], { stopAtFailure: true });
    expect(rowsOf(batch ?? expect.fail())).toMatchObject([{ errno: EFAULT, result: 0 }]);
    expect(batch).toMatchObject({ rows: 1, stopped: true });
  });

  test('that was planned as another, or does not happen, ends the run', async () => {
    const guest = await openFaulting();
    await expect(guest.run([[['exit_memory_fault', { gpa, len, flags: 0 }]]])).rejects.toThrow(
      'operation 0 (exit_memory_fault): the exit is not the one that was planned: KVM_EXIT_MEMORY_FAULT at gpa 0x4000000, size 0x1000, flags 0x8',
    );
    await expect(guest.run([[['exit_memory_fault', { gpa: 0, len }]]])).rejects.toThrow(
      'gpa 0x0 was to fault, and did not',
    );
    await expect(
      guest.run([[fault, addSlot, ['mark', {}], ['exit_memory_fault', { gpa: gpa + PAGE, len: PAGE }]]]),
    ).rejects.toThrow('operation 3 (exit_memory_fault): gpa 0x4001000 was to fault, and did not');
    const beyond: Operation = ['exit_memory_fault', { gpa: gpa + len, len, peer: 0 }];
    await expect(guest.run([[beyond]])).rejects.toThrow('the memory that a fault was answered with faults again');
    // And the vCPU can go on.
    expect(await guest.run([[['mark', {}]]])).toMatchObject([{ rows: 1 }]);
  });
});

describe.skipIf(!HAS_SW_PROTECTED)('hypercalls that KVM turns down', () => {
  test('end the run, with what was done', async () => {
    const guest = await openGuest(SW_PROTECTED, 2);
    const run = guest.run(
      [
        [...convert(0, PAGE, 'private'), ['exit_map_gpa_range', { gpa: 5, len: PAGE, attrs: 0 }], ['mark', {}]],
        [['mark', { paceNs: 3600e9 }]],
      ],
      { pace: 'relative' },
    );
    await expect(run).rejects.toThrow('the hypercall for gpa 0x5, len 0x1000 came back with -22 without an exit');
    await expect(run).rejects.toMatchObject({ code: 'ERR_GUEST', batches: [{ rows: 2, stopped: true }, { rows: 0 }] });
  });
});

describe.skipIf(!HAS_SW_PROTECTED)('operations of a vCPU', () => {
  test('pre-faulting says how much it did', async () => {
    const guest = await openGuest(SW_PROTECTED, 1);
    const rows = await guest.perform([
      ['kvm_set_memory_attributes', { obj: VM, gpa: 0, len: MIB, attrs: PRIVATE, flags: 0 }],
      ['kvm_pre_fault_memory', { obj: FIRST_VCPU, gpa: 0, len: MIB, flags: 0 }],
      ['kvm_pre_fault_memory', { obj: FIRST_VCPU, gpa: 1, len: MIB, flags: 0 }],
      ['kvm_pre_fault_memory', { obj: FIRST_VCPU, gpa: MEMORY - PAGE, len: 2 * PAGE, flags: 0 }],
      ['kvm_pre_fault_memory', { obj: VM, gpa: 0, len: MIB }],
    ]);
    expect(rows.map(({ errno }) => errno)).toEqual([0, 0, EINVAL, 0, 9]);
    expect(rows.map(({ result }) => result)).toEqual([0, MIB, null, PAGE, null]);
    if (HAS_CACHESTAT) expect(guest.session.residentBytes(2)).toBe(MIB);
  });

  test('encryption commands are for VMs that are encrypted', async () => {
    const guest = await openGuest(SW_PROTECTED, 1);
    const [row] = await guest.perform([['kvm_memory_encrypt_op', { obj: VM, attrs: 22 }]]);
    expect(row?.errno).toBe(existsSync('/dev/sev') ? 25 : 2);
  });
});
