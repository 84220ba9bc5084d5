import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkFormat, fixturesOf, TESTDATA } from '../testing/check-format.ts';
import { importBytes } from '../testing/import-bytes.ts';
import { SimpletraceFile } from '../testing/simpletrace-file.ts';
import { simpletraceFormat } from './simpletrace.ts';
import { parseDeclaredEvents } from './trace-events.ts';

const FOLDER = join(TESTDATA, simpletraceFormat.name);
const EVENTS_FILE = join(FOLDER, 'old-numbers.events');

/** Events of a file of version 3, whose ids are their positions here. */
const EVENTS = `# small, but with all that a declaration can have
disable tcg_of_no_interest(void *p, \\
    const char *name) "%p %s"
kvm_set_user_memory(uint32_t slot, uint32_t flags, uint64_t guest_phys_addr, uint64_t memory_size, uint64_t userspace_addr, int ret) "Slot#%d flags=0x%x gpa=0x%"PRIx64
kvm_irqchip_commit_routes(void) ""
ram_block_discard_range(const char *rbname, void *hva, size_t length, bool need_madvise, bool need_fallocate, int ret) "%s@%p + 0x%zx: madvise: %d fallocate: %d ret: %d"
`;

const FILES: Readonly<Record<string, Uint8Array>> = {
  conversion: conversion('little'),
  'big-endian': conversion('big'),
  dropped: new SimpletraceFile()
    .mapping(9, 'kvm_memory_fault')
    .event(9, 5_000_000_000n, [0x1000, 0x1000, 8])
    .dropped(5_000_000_100n, 321)
    .event(9, 5_000_000_200n, [0x2000, 0x1000, 0])
    .event(9, 5_000_000_300n, [0x3000, 0x1000])
    .event(10, 5_000_000_400n, [1]).bytes,
  'old-numbers': new SimpletraceFile(3)
    .event(1, 90_000_000_000_000_000n, [5, 0, 0x100000000, 0x8000000, 0x7f0000000000, -12])
    .event(2, 90_000_000_000_000_001n, [])
    .event(0, 90_000_000_000_000_002n, [7, 'x'])
    .event(3, 90_000_000_000_000_003n, ['pc.ram', 0x7f0000001000, 4096, 1, 0, 0])
    .dropped(90_000_000_000_000_004n, 2).bytes,
};

function conversion(byteOrder: 'little' | 'big'): Uint8Array {
  return new SimpletraceFile(4, byteOrder)
    .mapping(3, 'kvm_convert_memory')
    .mapping(4, 'ram_block_attributes_state_change')
    .mapping(5, 'iommufd_backend_map_dma')
    .mapping(6, 'memory_region_ops_read')
    .event(3, 1_000_000_001n, [0x40000000, 0x1000, 'private_to_shared'])
    .event(4, 1_000_000_500n, [0x40000000, 0x1000, 'discarded', 'populated'])
    .event(6, 1_000_000_600n, [0, 1, 2, 3, 4, 'serial'])
    .event(5, 1_000_000_700n, [12, 2, 0x40000000, 0x1000, 0x7f1240000000, 0, 0])
    .event(5, 1_000_000_900n, [12, 2, 0x40000000, 0x1000, 0x7f1240000000, 0, -17]).bytes;
}

if (process.env['CVMTRACE_UPDATE_GOLDEN']) {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(EVENTS_FILE, EVENTS);
  for (const [name, bytes] of Object.entries(FILES)) writeFileSync(join(FOLDER, `${name}.bin`), bytes);
}

describe('simpletrace', () => {
  it('has the fixtures that are made here', () => {
    const fixtures = fixturesOf(simpletraceFormat.name);
    expect(fixtures.map(({ name }) => name)).toEqual(Object.keys(FILES).sort());
    for (const { name, bytes } of fixtures) expect(bytes).toEqual(Buffer.from(FILES[name] ?? []));
  });

  checkFormat(simpletraceFormat, {
    options: ({ name }) => (name === 'old-numbers' ? { eventsFile: EVENTS_FILE } : {}),
  });

  it('is the same from both byte orders', () => {
    const rows = (name: string) => importBytes(simpletraceFormat, FILES[name] ?? '').rows;
    expect(rows('big-endian')).toEqual(rows('conversion'));
  });

  it('needs the list of events for versions that have numbers only', () => {
    const old = FILES['old-numbers'] ?? new Uint8Array();
    expect(() => importBytes(simpletraceFormat, old)).toThrow(/version 3 has numbers instead of names/);
    expect(() => importBytes(simpletraceFormat, old, { eventsFile: '/nowhere/events' })).toThrow(/does not exist/);
    expect(() => importBytes(simpletraceFormat, new SimpletraceFile(0).bytes)).toThrow(/version 0, which/);
  });

  it('ends where a record cannot be one', () => {
    const file = new SimpletraceFile().mapping(9, 'kvm_memory_fault').event(9, 1n, [0x1000, 0x1000, 8]);
    const { rows, troubles } = importBytes(simpletraceFormat, file.raw(Buffer.alloc(64, 0x33)).bytes);
    expect(rows).toHaveLength(1);
    expect(troubles.map(({ kind }) => kind)).toEqual(['record of unknown type, and what comes after it']);
  });

  it('takes declarations apart', () => {
    expect(parseDeclaredEvents(EVENTS)).toEqual([
      { name: 'tcg_of_no_interest', texts: [false, true] },
      { name: 'kvm_set_user_memory', texts: [false, false, false, false, false, false] },
      { name: 'kvm_irqchip_commit_routes', texts: [] },
      { name: 'ram_block_discard_range', texts: [true, false, false, false, false, false] },
    ]);
  });
});
