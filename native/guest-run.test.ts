import { describe, expect, test, vi } from 'vitest';
import { type ExecutedBatch, type GuestPlan, loadNative } from './index.ts';
import {
  convert,
  FIRST_VCPU,
  MEMORY,
  openGuest,
  PROGRAM,
  PROGRAM_GPA,
  touch,
  VM,
  type Guest,
  type Operation,
} from './testing/guest.ts';
import { KIB, openSession, rowsOf, wordsOf } from './testing/rows.ts';

const DEFAULT_VM = 0;
const PAGE = 4 * KIB;
const { attempts } = loadNative().probeHost();
const HAS_KVM = attempts['kvm.vm.0']?.errno === 0;
const mark: Operation = ['mark', {}];
const forAnHour: Operation = ['mark', { paceNs: 3600e9 }];

const rowsOfFirst = (batches: readonly ExecutedBatch[]) => rowsOf(batches[0] ?? expect.fail());
/** The run is in the guest: the first batch's first mark was done, as a later touch of shared memory shows. */
async function untilWritten(guest: Guest, gpa: number): Promise<void> {
  await vi.waitFor(() => expect(guest.readShared(gpa)).toBe(gpa + 1), { timeout: 10_000 });
}

describe('plans that make no sense', () => {
  const plan: GuestPlan = { vm: VM, memory: { obj: PROGRAM, gpa: PROGRAM_GPA }, vcpus: [] };

  test.each([
    [undefined, 'the plan is not an object'],
    [{ ...plan, vm: -1 }, 'vm is not a whole number'],
    [{ ...plan, memory: 4 }, 'memory is not an object'],
    [{ ...plan, memory: { obj: 4, gpa: 0.5 } }, 'memory.gpa is not a whole number'],
    [{ ...plan, vcpus: {} }, 'vcpus is not an array'],
    [{ ...plan, vcpus: [{ obj: 10, words: [0] }] }, 'the batch of a vCPU is not a Float64Array'],
    [{ ...plan, vcpus: [{ obj: 10, words: new Float64Array(3) }] }, 'vCPU 10: a batch has 11 words per operation'],
  ])('%o', async (wrong, message) => {
    const run = openSession().runGuest(wrong as unknown as GuestPlan);
    await expect(run).rejects.toBeInstanceOf(TypeError);
    await expect(run).rejects.toThrow(message.replace('the plan', "the guest's plan"));
  });

  test('objects that are not there', async () => {
    const run = openSession().runGuest({ ...plan, vcpus: [{ obj: 10, words: wordsOf([mark]) }] });
    await expect(run).rejects.toMatchObject({ code: 'EBADF', batches: [{ rows: 0, stopped: true }] });
    await expect(run).rejects.toThrow('object 1 is no VM');
  });

  test('a closed session', async () => {
    const session = openSession();
    await session.close();
    await expect(session.runGuest(plan)).rejects.toMatchObject({ code: 'ERR_SESSION_CLOSED' });
  });
});

test('the memory of the guest program grows with what it maps, up to 512 GiB', () => {
  const native = loadNative();
  const guestMemoryBytes = (gpa: number, vcpus: number) => native.guestMemoryBytes(gpa, vcpus);
  const GIB = 2 ** 30;
  expect(guestMemoryBytes(GIB, 1) - guestMemoryBytes(0, 1)).toBe(PAGE);
  expect(guestMemoryBytes(0, 3) - guestMemoryBytes(0, 2)).toBe(68 * KIB);
  expect(guestMemoryBytes(511 * GIB, 1)).toBeGreaterThan(0);
  // The end of it counts, too.
  expect(guestMemoryBytes(512 * GIB - PAGE, 1)).toBe(0);
  expect(guestMemoryBytes(512 * GIB, 1)).toBe(0);
  expect(guestMemoryBytes(100, 1)).toBe(0);
  expect(guestMemoryBytes(0, 0)).toBe(0);
  expect(() => guestMemoryBytes(-1, 1)).toThrow(TypeError);
});

describe.skipIf(!HAS_KVM)('a guest', () => {
  test('touches memory itself, and gives the VMM its turn', async () => {
    const guest = await openGuest(DEFAULT_VM, 1);
    const batches = await guest.run([
      [
        mark,
        touch(PAGE, 2 * PAGE, true),
        ['ram_create', { obj: 77, len: PAGE, flags: 0 }],
        ['ram_touch', { obj: 3, offset: 8 * PAGE, len: PAGE, flags: 1 }],
        touch(9 * PAGE + 8, PAGE, false),
      ],
    ]);
    const rows = rowsOfFirst(batches);
    expect(rows.map(({ errno, result }) => [errno, result])).toEqual([
      [0, null],
      [0, 2],
      [22, null],
      [0, 1],
      [0, 2],
    ]);
    expect([0, 1, 2, 3].map((page) => guest.readShared(page * PAGE))).toEqual([0, PAGE + 1, 2 * PAGE + 1, 0]);
    expect(batches[0]).toMatchObject({ rows: 5, failures: 1, stopped: false });
    rows.reduce((end, { ts_ns, dur_ns }) => {
      expect(ts_ns).toBeGreaterThanOrEqual(end);
      return (ts_ns ?? 0) + (dur_ns ?? 0);
    }, 0);
  });

  test('is run again and again, with any of its vCPUs, each on a thread that stays', async () => {
    const guest = await openGuest(DEFAULT_VM, 3);
    const on = (vcpus: readonly number[]) =>
      guest.session.runGuest({
        vm: VM,
        memory: { obj: PROGRAM, gpa: PROGRAM_GPA },
        vcpus: vcpus.map((vcpu) => ({
          obj: FIRST_VCPU + vcpu,
          words: wordsOf([mark, touch(vcpu * PAGE, PAGE, true)]),
        })),
      });
    const [first, second, third] = (await on([0, 1, 2])).map(({ tid }) => tid);
    expect(new Set([first, second, third]).size).toBe(3);
    expect((await on([2])).map(({ tid }) => tid)).toEqual([third]);
    expect((await on([1, 0])).map(({ tid, rows }) => [tid, rows])).toEqual([
      [second, 2],
      [first, 2],
    ]);
    expect((await guest.run([[], []])).map(({ rows, stopped }) => [rows, stopped])).toEqual([
      [0, false],
      [0, false],
    ]);
  });

  test('does more requests than one list holds', async () => {
    const guest = await openGuest(DEFAULT_VM, 1);
    const batches = await guest.run([Array.from({ length: 3000 }, (_, i) => touch((i % 512) * PAGE, PAGE, true))]);
    expect(batches).toMatchObject([{ rows: 3000, failures: 0, stopped: false }]);
    expect(rowsOfFirst(batches).every(({ result }) => result === 1)).toBe(true);
  });

  test('waits as the pacing says', async () => {
    const guest = await openGuest(DEFAULT_VM, 1);
    const paced: Operation[] = [mark, touch(0, PAGE, true), ['mark', { paceNs: 4e6 }]];
    paced[1] = ['guest_touch', { gpa: 0, len: PAGE, flags: 1, paceNs: 4e6 }];
    const relative = rowsOfFirst(await guest.run([paced], { pace: 'relative', paceFactor: 0.5 }));
    expect(relative[0]?.lag_ns).toBeNull();
    for (const i of [1, 2]) {
      const before = relative[i - 1];
      const gap = (relative[i]?.ts_ns ?? 0) - (before?.ts_ns ?? 0) - (before?.dur_ns ?? 0);
      expect(gap).toBeGreaterThan(1.8e6);
      expect(relative[i]?.lag_ns).toBeGreaterThanOrEqual(0);
    }
    // Due times count from the session's first batch with that pacing, on every vCPU and in every run.
    const first = rowsOfFirst(await guest.run([[['mark', { paceNs: 1 }]]], { pace: 'absolute' }));
    const second = rowsOfFirst(
      await guest.run([[['guest_touch', { gpa: 0, len: PAGE, paceNs: 20e6 }]]], { pace: 'absolute' }),
    );
    const due = (row: (typeof first)[0] | undefined) => (row?.ts_ns ?? 0) - (row?.lag_ns ?? 0);
    expect(Math.abs(due(second[0]) - due(first[0]) - 20e6)).toBeLessThan(1e6);
  });

  test('is stopped by cancel, and can run again', async () => {
    const guest = await openGuest(DEFAULT_VM, 2);
    const running = guest.run([[mark, touch(0, PAGE, true), forAnHour], [forAnHour]], { pace: 'relative' });
    const queued = guest.run([[mark], [mark]]);
    await untilWritten(guest, 0);
    guest.session.cancel();
    expect(await running).toMatchObject([
      { rows: 2, stopped: true },
      { rows: 0, stopped: true },
    ]);
    expect(await queued).toMatchObject([{ rows: 0, stopped: true }, { rows: 0 }]);
    expect(await guest.run([[mark], [mark]])).toMatchObject([{ rows: 1, stopped: false }, { rows: 1 }]);
  });

  test('is stopped by close', async () => {
    const guest = await openGuest(DEFAULT_VM, 1);
    const running = guest.run([[mark, touch(0, PAGE, true), forAnHour]], { pace: 'relative' });
    await untilWritten(guest, 0);
    await guest.session.close();
    expect(await running).toMatchObject([{ rows: 2, stopped: true }]);
    expect(guest.session.openObjects).toBe(0);
  });

  test('stops on all vCPUs at a failure, if asked to', async () => {
    const guest = await openGuest(DEFAULT_VM, 2);
    const failing: Operation = ['ram_punch_hole', { obj: 99, offset: 0, len: PAGE }];
    const batches = await guest.run([[mark, failing, mark], [forAnHour]], { pace: 'relative', stopAtFailure: true });
    expect(batches).toMatchObject([
      { rows: 2, failures: 1, stopped: true },
      { rows: 0, stopped: true },
    ]);
  });

  test.each<[string, Operation, string]>([
    ['an access beyond what is mapped', touch(2 ** 40, PAGE, true), 'exception 14 (error code 0x2)'],
    ['an access where no slot is', touch(MEMORY, PAGE, true), 'wrote to gpa 0x1000000, where no memory slot is'],
    [
      'a planned fault that does not come',
      ['exit_memory_fault', { gpa: 0, len: PAGE }],
      'gpa 0x0 was to fault, and did not',
    ],
    ['its own memory', touch(PROGRAM_GPA - PAGE, 2 * PAGE, false), 'is in the memory of the guest program'],
    ['no length', ['guest_touch', { gpa: 0 }], 'guest_touch needs gpa and a len above 0'],
    [
      'parts of pages',
      ['exit_map_gpa_range', { gpa: 0, len: 6000, attrs: 0 }],
      'is of whole 4 KiB pages, not of 6000 bytes',
    ],
  ])('cannot be asked for %s', async (_, operation, message) => {
    const guest = await openGuest(DEFAULT_VM, 1);
    const run = guest.run([[mark, operation, mark]]);
    await expect(run).rejects.toThrow(message);
    await expect(run).rejects.toThrow('operation 1');
    await expect(run).rejects.toHaveProperty('batches');
    expect(await guest.run([[mark]])).toMatchObject([{ rows: 1 }]);
  });

  test('asks with the hypercall, or says at once that this KVM has none', async () => {
    const guest = await openGuest(DEFAULT_VM, 1);
    const [exit = mark] = convert(0, PAGE, 'shared');
    const run = guest.run([[[exit[0], { ...exit[1], peer: 0 }]]]).catch((error: unknown) => error);
    const done = await run;
    if (done instanceof Error) expect(done.message).toContain('this KVM does not know the hypercall instruction');
    else expect(done).toMatchObject([{ rows: 1, failures: 0 }]);
  });
});
