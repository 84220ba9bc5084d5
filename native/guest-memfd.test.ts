import { describe, expect, test, type TestContext } from 'vitest';
import { loadNative } from './index.ts';
import { MIB, openSession, rowsOf, wordsOf } from './testing/rows.ts';

const EFAULT = 14;
const ENODEV = 19;
const KVM_MEM_GUEST_MEMFD = 4;
const [VM, SHARED, PRIVATE] = [1, 2, 3];

/** Skips the test, saying why, if the host cannot do what `key` of the probe names. */
function need(context: TestContext, key: string): void {
  const native = loadNative();
  const { attempts } = native.probeHost();
  const attempt = attempts[key] ?? attempts['kvm.open'];
  if (!attempts[key] || attempt?.errno) {
    context.skip(`${key}: ${attempt?.call ?? 'not tried'}: ${native.errnoName(attempt?.errno ?? 0)}`);
  }
}

function setUp(flags: number): Float64Array {
  return wordsOf([
    ['kvm_create_vm', { obj: VM, attrs: 0 }],
    ['kvm_create_guest_memfd', { obj: PRIVATE, peer: VM, len: 4 * MIB, flags }],
    ['ram_create', { obj: SHARED, len: 4 * MIB, flags: 1 }],
    [
      'kvm_set_user_memory_region2',
      { obj: VM, gpa: 0, offset: 0, len: 4 * MIB, flags: KVM_MEM_GUEST_MEMFD, attrs: PRIVATE * 2 ** 32, peer: SHARED },
    ],
  ]);
}

describe('guest_memfd', () => {
  test('behind a slot is allocated and punched', async (context) => {
    need(context, 'gmem.slot');
    const session = openSession();
    const made = await session.execute(setUp(0));
    expect(Array.from(made.errno)).toEqual([0, 0, 0, 0]);
    expect(session.openObjects).toBe(3);
    const rows = rowsOf(made);
    expect(rows[3]?.hva).toBe(rows[2]?.hva);
    const batch = await session.execute(
      wordsOf([
        ['gmem_allocate', { obj: PRIVATE, offset: 0, len: MIB }],
        ['gmem_punch_hole', { obj: PRIVATE, offset: 4096, len: 4096 }],
        ['gmem_touch', { obj: PRIVATE, offset: 0, len: 4096, flags: 1 }],
      ]),
    );
    expect(Array.from(batch.errno)).toEqual([0, 0, ENODEV]);
    if (loadNative().probeHost().attempts['gmem.cachestat']?.errno === 0) {
      expect(session.residentBytes(PRIVATE)).toBe(MIB - 4096);
    }
  });

  test('can be touched through its mapping where it is shared, and is EFAULT where it is private', async (context) => {
    need(context, 'gmem.touch');
    for (const [flags, errno, pages] of [
      [3, 0, 2],
      [1, EFAULT, 0],
    ] as const) {
      const session = openSession();
      await session.execute(setUp(flags));
      const batch = await session.execute(
        wordsOf([['gmem_touch', { obj: PRIVATE, offset: 4096, len: 8192, flags: 1 }]]),
      );
      expect(rowsOf(batch)[0]).toMatchObject({ errno, result: pages });
    }
  });

  test('attributes are what the probe says of them', async (context) => {
    need(context, 'kvm.vm.0');
    const session = openSession();
    await session.execute(setUp(0));
    const batch = await session.execute(
      wordsOf([['kvm_set_memory_attributes', { obj: VM, gpa: 0, len: 4096, attrs: 8 }]]),
    );
    expect(batch.errno[0]).toBe(loadNative().probeHost().attempts['kvm.vm.0.set_memory_attributes']?.errno);
  });
});
