import { afterAll, describe, expect, test } from 'vitest';
import type { NativeSession, Operands } from './index.ts';
import { HAS_IOMMU, HAS_IOMMUFD, kernelWarned, outcomes, perform } from './testing/lab.ts';
import { KIB, MIB, openSession } from './testing/rows.ts';

// Numbers of objects.
const [IOMMUFD, IOAS, RAM, MOCK, OTHER_IOAS, OTHER_MOCK, CONTAINER, PARENT, NESTED, QUEUE, HOLD] = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
] as const;
const MEMORY = 16 * MIB;
/** Where the mock's page tables begin. */
const BASE = 16 * MIB;
const [FIXED, READ_WRITE] = [1, 6] as const;
const [NEST_PARENT, FAULT_ID_VALID] = [1, 4] as const;
const [RLIMIT_MODE, HUGE_PAGES] = [0, 1] as const;
const [TYPE1, TYPE1V2] = [1, 3] as const;
const UNMAP_ALL = 2;
const HWPT_SELFTEST = 0xdead;
const INVALIDATE_SELFTEST = 0xdeadbeef;
const onDevice = (device: number, type = 0) => device * 2 ** 32 + type;

/** An address space with a mock device, and 16 MiB that can be mapped. */
async function openMock(): Promise<NativeSession> {
  const session = openSession();
  const made = await outcomes(session, [
    ['ram_create', { obj: RAM, len: MEMORY, flags: 1 }],
    ['iommufd_open', { obj: IOMMUFD }],
    ['iommufd_ioas_alloc', { obj: IOAS, peer: IOMMUFD }],
    ['iommufd_test_mock_domain', { obj: MOCK, peer: IOAS }],
  ]);
  expect(made).toEqual(['ok', 'ok', 'ok', 'ok']);
  return session;
}

/** Operands for memory at `offset`, mapped at `offset` from the mock's start. */
const range = (offset: number, len: number, iova = BASE + offset): Operands => ({ peer: RAM, offset, len, iova });
const map = (offset: number, len: number) =>
  ['iommufd_ioas_map', { obj: IOAS, ...range(offset, len), flags: FIXED | READ_WRITE }] as const;
const unmap = (offset: number, len: number) => ['iommufd_ioas_unmap', { obj: IOAS, iova: BASE + offset, len }] as const;
const check = (offset: number, len: number, device: number = MOCK, iova = BASE + offset) =>
  ['iommufd_test_md_check_map', { obj: device, ...range(offset, len, iova) }] as const;

describe.skipIf(HAS_IOMMU || !HAS_IOMMUFD)('iommufd with a mock device', () => {
  afterAll(() => {
    expect(kernelWarned()).toBe(false);
  });

  test('the page table holds what is mapped, while it is mapped, and nothing else', async () => {
    const session = await openMock();
    expect(
      await outcomes(session, [
        check(0, 4 * KIB),
        map(0, MIB),
        check(0, MIB),
        check(4 * KIB, MIB - 4 * KIB, MOCK, BASE),
        check(0, MIB + 4 * KIB),
        unmap(0, MIB),
        check(0, 4 * KIB),
      ]),
    ).toEqual(['EINVAL', 'ok', 'ok', 'EINVAL', 'EINVAL', 'ok', 'EINVAL']);
  });

  test('a map has a host address and a result; one over another is EEXIST, one outside the aperture EINVAL', async () => {
    const session = await openMock();
    const rows = await perform(session, [
      map(MIB, MIB),
      map(MIB + 4 * KIB, 4 * KIB),
      ['iommufd_ioas_map', { obj: IOAS, ...range(0, 4 * KIB, 0), flags: FIXED | READ_WRITE }],
      ['iommufd_ioas_map', { obj: IOAS, ...range(0, 4 * KIB, 2 ** 31), flags: FIXED | READ_WRITE }],
    ]);
    expect(rows.map(({ outcome }) => outcome)).toEqual(['ok', 'EEXIST', 'EINVAL', 'EINVAL']);
    expect(rows[1]).toMatchObject({ hva: Number(rows[0]?.hva) + 4 * KIB, result: null });
    expect(rows[0]).toMatchObject({ result: 0, iova: BASE + MIB, len: MIB });
    expect(rows[0]?.dur_ns).toBeGreaterThan(0);
  });

  test('the kernel chooses a place that is not given, and the row says which', async () => {
    const session = await openMock();
    const [mapped] = await perform(session, [
      ['iommufd_ioas_map', { obj: IOAS, peer: RAM, offset: 0, len: MIB, flags: READ_WRITE }],
    ]);
    const iova = Number(mapped?.iova);
    expect(iova).toBeGreaterThanOrEqual(BASE);
    expect(await outcomes(session, [check(0, MIB, MOCK, iova)])).toEqual(['ok']);
  });

  test('an unmap that cuts a mapping is ENOENT, and those before it are gone', async () => {
    const session = await openMock();
    const rows = await perform(session, [
      map(0, MIB),
      map(MIB, MIB),
      unmap(0, MIB + 4 * KIB),
      check(0, 4 * KIB),
      check(MIB, MIB),
      unmap(0, 2 * MIB),
      unmap(0, 2 * MIB),
      unmap(MIB, 4 * KIB),
    ]);
    expect(rows.map(({ outcome, result }) => [outcome, result])).toEqual([
      ['ok', 0],
      ['ok', 0],
      ['ENOENT', null],
      ['EINVAL', null],
      ['ok', 0],
      ['ok', MIB],
      ['ENOENT', null],
      ['ENOENT', null],
    ]);
  });

  test('without a range everything is unmapped, also nothing', async () => {
    const session = await openMock();
    const rows = await perform(session, [
      map(0, 64 * KIB),
      map(MIB, 4 * KIB),
      ['iommufd_ioas_unmap', { obj: IOAS }],
      ['iommufd_ioas_unmap', { obj: IOAS }],
    ]);
    expect(rows[2]).toMatchObject({ outcome: 'ok', result: 68 * KIB, iova: 0, len: 2 ** 64 });
    expect(rows[3]).toMatchObject({ outcome: 'ok', result: 0 });
  });

  test('a copy shares the pages of a mapping with another address space, the whole or a part', async () => {
    const session = await openMock();
    const copy = (offset: number, len: number, iova: number) =>
      ['iommufd_ioas_copy', { obj: OTHER_IOAS, peer: IOAS, offset: BASE + offset, len, iova, flags: 7 }] as const;
    expect(
      await outcomes(session, [
        ['iommufd_ioas_alloc', { obj: OTHER_IOAS, peer: IOMMUFD }],
        ['iommufd_test_mock_domain', { obj: OTHER_MOCK, peer: OTHER_IOAS }],
        map(0, MIB),
        copy(0, MIB, BASE + 4 * MIB),
        copy(4 * KIB, 4 * KIB, BASE + 8 * MIB),
        copy(2 * MIB, MIB, BASE + 12 * MIB),
        unmap(0, MIB),
        check(0, MIB, OTHER_MOCK, BASE + 4 * MIB),
        check(4 * KIB, 4 * KIB, OTHER_MOCK, BASE + 8 * MIB),
        check(0, 4 * KIB),
      ]),
    ).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'ENOENT', 'ok', 'ok', 'ok', 'EINVAL']);
  });

  test('options: accounting by process while the iommufd is empty, large pages of an address space', async () => {
    const session = openSession();
    const rlimit = ['iommufd_option', { obj: IOMMUFD, attrs: RLIMIT_MODE, flags: 1 }] as const;
    const hugePages = (flags: number) => ['iommufd_option', { obj: IOAS, attrs: HUGE_PAGES, flags }] as const;
    expect(
      await outcomes(session, [
        ['iommufd_open', { obj: IOMMUFD }],
        rlimit,
        ['iommufd_ioas_alloc', { obj: IOAS, peer: IOMMUFD }],
        rlimit,
        hugePages(0),
        hugePages(1),
        hugePages(2),
        ['iommufd_option', { obj: IOAS, attrs: 99, flags: 0 }],
      ]),
    ).toEqual(['ok', 'ok', 'ok', 'EBUSY', 'ok', 'ok', 'EINVAL', 'EOPNOTSUPP']);
  });

  test('the compatibility mode cuts a mapping when large pages are off, and only then', async () => {
    for (const [type, hugePages, cuts] of [
      [TYPE1V2, 1, false],
      [TYPE1V2, 0, true],
      [TYPE1, 1, true],
    ] as const) {
      const session = await openMock();
      const rows = await perform(session, [
        ['iommufd_option', { obj: IOAS, attrs: HUGE_PAGES, flags: hugePages }],
        ['iommufd_vfio_ioas', { obj: IOMMUFD, peer: IOAS }],
        ['vfio_set_iommu', { obj: CONTAINER, peer: IOMMUFD, flags: type }],
        ['vfio_map_dma', { obj: CONTAINER, ...range(0, MIB), flags: 3 }],
        ['vfio_unmap_dma', { obj: CONTAINER, iova: BASE + 8 * KIB, len: 4 * KIB }],
        check(0, 8 * KIB),
        check(8 * KIB, 4 * KIB),
        check(12 * KIB, MIB - 12 * KIB),
        ['vfio_unmap_dma', { obj: CONTAINER, flags: UNMAP_ALL }],
        ['vfio_unmap_dma', { obj: CONTAINER, iova: BASE, len: MIB }],
        ['vfio_iommu_get_info', { obj: CONTAINER }],
      ]);
      expect(rows.map(({ outcome }) => outcome)).toEqual([
        ...['ok', 'ok', 'ok', 'ok', cuts ? 'ok' : 'ENOENT', 'ok', cuts ? 'EINVAL' : 'ok', 'ok', 'ok', 'ok', 'ok'],
      ]);
      expect(rows[4]?.result).toBe(cuts ? 4 * KIB : null);
      expect(rows[8]?.result).toBe(cuts ? MIB - 4 * KIB : MIB);
      expect(rows[9]?.result).toBe(0);
      // No limit but that of memory.
      expect(rows[10]?.result).toBe(2 ** 32 - 1);
    }
  });

  test('a nested page table is invalidated, by 1, 16 and 256 entries', async () => {
    const session = await openMock();
    const invalidate = (entries: number, flags = 0, obj: number = NESTED) =>
      ['iommufd_hwpt_invalidate', { obj, attrs: INVALIDATE_SELFTEST, len: 8 * entries, flags }] as const;
    const rows = await perform(session, [
      ['iommufd_hwpt_alloc', { obj: PARENT, peer: IOAS, attrs: onDevice(MOCK), flags: NEST_PARENT }],
      ['iommufd_hwpt_alloc', { obj: NESTED, peer: PARENT, attrs: onDevice(MOCK, HWPT_SELFTEST), flags: 0 }],
      invalidate(1),
      invalidate(16),
      invalidate(256),
      invalidate(4, 1),
      invalidate(1, 2),
      invalidate(1, 0, PARENT),
      ['iommufd_destroy', { obj: PARENT }],
      ['iommufd_destroy', { obj: NESTED }],
      ['iommufd_destroy', { obj: PARENT }],
    ]);
    expect(rows.map(({ outcome }) => outcome)).toEqual([
      ...['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'EOPNOTSUPP', 'ENOENT', 'EBUSY', 'ok', 'ok'],
    ]);
    expect(rows.slice(2, 6).map(({ result }) => result)).toEqual([1, 16, 256, 4]);
    expect(session.openObjects).toBe(4);
  });

  test('only a nesting parent, of a device, carries a nested page table', async () => {
    const session = await openMock();
    expect(
      await outcomes(session, [
        ['iommufd_hwpt_alloc', { obj: PARENT, peer: IOAS, attrs: onDevice(MOCK), flags: 0 }],
        ['iommufd_hwpt_alloc', { obj: NESTED, peer: PARENT, attrs: onDevice(MOCK, HWPT_SELFTEST), flags: 0 }],
        ['iommufd_hwpt_alloc', { obj: NESTED, peer: IOAS, attrs: onDevice(MOCK), flags: 2 ** 20 }],
        ['iommufd_hwpt_alloc', { obj: NESTED, peer: IOAS, attrs: onDevice(IOAS), flags: 0 }],
      ]),
    ).toEqual(['ok', 'EINVAL', 'EOPNOTSUPP', 'EBADF']);
  });

  test('page requests of a device wait in its fault queue, and are answered once', async () => {
    const session = await openMock();
    const fault = (obj: number, group: number) =>
      ['iommufd_test_trigger_iopf', { obj, iova: BASE, flags: 3, attrs: group }] as const;
    const respond = (code: number) => ['iommufd_fault_respond', { obj: QUEUE, flags: code }] as const;
    const rows = await perform(session, [
      ['iommufd_fault_queue_alloc', { obj: QUEUE, peer: IOMMUFD }],
      ['iommufd_hwpt_alloc', { obj: PARENT, peer: IOAS, attrs: onDevice(MOCK), flags: NEST_PARENT }],
      [
        'iommufd_hwpt_alloc',
        { obj: NESTED, peer: PARENT, attrs: onDevice(MOCK, HWPT_SELFTEST), flags: FAULT_ID_VALID, offset: QUEUE },
      ],
      ['iommufd_test_mock_domain', { obj: OTHER_MOCK, peer: NESTED }],
      respond(0),
      fault(OTHER_MOCK, 1),
      respond(0),
      fault(OTHER_MOCK, 2),
      fault(OTHER_MOCK, 3),
      fault(MOCK, 4),
      respond(1),
      respond(0),
      fault(OTHER_MOCK, 5),
      respond(7),
    ]);
    expect(rows.slice(4).map(({ outcome, result }) => (outcome === 'ok' ? result : outcome))).toEqual([
      // The mock that has no queue drops its fault, and trigger does not say so.
      ...[0, 0, 1, 0, 0, 0, 2, 0, 0, 'EINVAL'],
    ]);
    expect(
      await outcomes(session, [
        ['iommufd_destroy', { obj: OTHER_MOCK }],
        ['iommufd_destroy', { obj: NESTED }],
        ['iommufd_destroy', { obj: QUEUE }],
        respond(0),
      ]),
    ).toEqual(['ok', 'ok', 'ok', 'EBADF']);
  });

  test('what a kernel has not is ENOTTY, and what it has works', async () => {
    const session = await openMock();
    const [file, process, viommu] = await perform(session, [
      ['iommufd_ioas_map_file', { obj: IOAS, ...range(0, MIB), flags: 7 }],
      ['iommufd_ioas_change_process', { obj: IOMMUFD }],
      ['iommufd_viommu_alloc', { obj: NESTED, peer: PARENT, attrs: onDevice(MOCK, INVALIDATE_SELFTEST) }],
    ]);
    expect(['ok', 'ENOTTY']).toContain(file?.outcome);
    expect(process?.outcome).toBe(file?.outcome);
    expect(viommu?.outcome).toBe('EBADF');
    expect(await outcomes(session, [check(0, MIB)])).toEqual([file?.outcome === 'ok' ? 'ok' : 'EINVAL']);
  });

  test('an object is destroyed once, not while it is in use, and its number is free again', async () => {
    const session = await openMock();
    expect(session.openObjects).toBe(4);
    expect(
      await outcomes(session, [
        ['iommufd_destroy', { obj: IOAS }],
        ['iommufd_destroy', { obj: MOCK }],
        ['iommufd_destroy', { obj: MOCK }],
        ['iommufd_destroy', { obj: IOAS }],
        map(0, MIB),
        ['iommufd_ioas_alloc', { obj: IOAS, peer: IOMMUFD }],
        map(0, MIB),
      ]),
    ).toEqual(['EBUSY', 'ok', 'EBADF', 'ok', 'EBADF', 'ok', 'ok']);
    expect(session.openObjects).toBe(3);
  });

  test('a session that is closed with everything in use leaves the mock free', async () => {
    for (let round = 0; round < 3; round++) {
      const session = await openMock();
      expect(
        await outcomes(session, [
          map(0, 8 * MIB),
          ['iommufd_hwpt_alloc', { obj: PARENT, peer: IOAS, attrs: onDevice(MOCK), flags: NEST_PARENT }],
          ['iommufd_fault_queue_alloc', { obj: QUEUE, peer: IOMMUFD }],
          ['gup_hold', { obj: HOLD, peer: RAM, offset: 0, len: MIB, flags: 1 }],
        ]),
      ).toEqual(['ok', 'ok', 'ok', 'ok']);
      await session.close();
      expect(session.openObjects).toBe(0);
    }
  });

  test('one hold on pages at a time', async () => {
    const session = await openMock();
    const hold = (obj: number) => ['gup_hold', { obj, peer: RAM, offset: 4 * KIB, len: MIB, flags: 1 }] as const;
    expect(
      await outcomes(session, [
        hold(HOLD),
        hold(HOLD + 1),
        ['gup_release', { obj: HOLD }],
        ['gup_release', { obj: HOLD }],
        hold(HOLD + 1),
      ]),
    ).toEqual(['ok', 'EINVAL', 'ok', 'EBADF', 'ok']);
  });
});
