import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CvmtraceError } from '../../native/error.ts';
import { PAGE_BYTES, type ConvertRequest, type GuestRequest } from '../request.ts';
import { PageStates } from './testing/page-states.ts';
import { findWorkload, WORKLOADS } from './registry.ts';
import type { WorkloadSettings } from './workload.ts';

const MEMORY_BYTES = 2 ** 28;

function requests(name: string, settings: Partial<WorkloadSettings> = {}): GuestRequest[] {
  return [...findWorkload(name).generate({ memoryBytes: MEMORY_BYTES, seed: 1, ...settings })];
}

function replayed(stream: Iterable<GuestRequest>, memoryBytes = MEMORY_BYTES): PageStates {
  const states = new PageStates(memoryBytes);
  for (const request of stream) states.apply(request);
  return states;
}

const conversions = (stream: readonly GuestRequest[]): ConvertRequest[] =>
  stream.filter((request) => request.kind === 'convert');

const touchedPages = (stream: readonly GuestRequest[]): number =>
  stream.reduce((pages, request) => pages + (request.kind === 'touch' ? request.len / PAGE_BYTES : 0), 0);

function hash(stream: readonly GuestRequest[]): string {
  const digest = createHash('sha256');
  for (const request of stream) {
    const fields: (string | number)[] = [request.kind, request.paceNs, request.vcpu];
    if (request.kind === 'mark') fields.push(request.name);
    if (request.kind === 'convert') fields.push(request.trigger, request.gpa, request.len, request.to);
    if (request.kind === 'touch') fields.push(request.gpa, request.len, request.side, String(request.write));
    digest.update(`${fields.join(' ')}\n`);
  }
  return digest.digest('hex').slice(0, 16);
}

describe.each(WORKLOADS.map(({ name }) => name))('%s', (name) => {
  it('obeys the page model for other seeds', () => {
    for (const seed of [0, 1, 2, 77, 2 ** 32 - 1])
      expect(replayed(requests(name, { seed })).bytes('unaccepted')).toBeLessThan(MEMORY_BYTES);
  });

  it('obeys the page model for any memory and parameters that it accepts', () => {
    const workload = findWorkload(name);
    // Small enough for hundreds of runs; the upper ends of the ranges are covered by the errors' tests.
    const values = fc.record(
      Object.fromEntries(
        workload.parameters.map(({ name: key, unit, min, max }) => [
          key,
          unit === 'bytes'
            ? fc
                .integer({ min: Math.ceil(min / PAGE_BYTES), max: Math.min(max, 2 ** 25) / PAGE_BYTES })
                .map((n) => n * PAGE_BYTES)
            : fc.integer({ min, max: Math.min(max, unit === 'percent' ? 100 : 60) }),
        ]),
      ),
    );
    const memory = fc.integer({ min: 1, max: 2 ** 28 / PAGE_BYTES }).map((pages) => pages * PAGE_BYTES);
    let generated = 0;
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), memory, values, (seed, memoryBytes, given) => {
        let stream;
        try {
          stream = workload.generate({ memoryBytes, seed, parameters: given });
        } catch (error) {
          expect(error).toMatchObject({ name: 'CvmtraceError', code: 'USAGE' });
          return;
        }
        generated++;
        replayed(stream, memoryBytes);
      }),
      { numRuns: 40, seed: 20_221 },
    );
    expect(generated).toBeGreaterThan(3);
  });

  it('gives the same requests for the same settings, and others for another seed', () => {
    const stream = requests(name);
    expect(requests(name)).toEqual(stream);
    expect(hash(requests(name, { seed: 2 }))).not.toBe(hash(stream));
  });

  it('can be iterated again from the start', () => {
    const stream = findWorkload(name).generate({ memoryBytes: MEMORY_BYTES, seed: 5 });
    expect(hash([...stream])).toBe(hash([...stream]));
  });

  it('begins with a mark, so that every request is in a phase', () => {
    expect(requests(name)[0]?.kind).toBe('mark');
  });

  it('checks its settings when it is called, not at the first request', () => {
    const workload = findWorkload(name);
    const at = (settings: Partial<WorkloadSettings>) => () =>
      workload.generate({ memoryBytes: MEMORY_BYTES, seed: 1, ...settings });
    expect(at({ memoryBytes: 6000 })).toThrow(/guest memory cannot be 6000/);
    expect(at({ memoryBytes: 0 })).toThrow(/guest memory cannot be 0/);
    expect(at({ memoryBytes: 2 ** 52 })).toThrow(CvmtraceError);
    expect(at({ memoryBytes: PAGE_BYTES })).toThrow(/needs .* of guest memory, not 4K/);
    expect(at({ seed: -1 })).toThrow(/seed cannot be -1/);
    expect(at({ seed: 0.5 })).toThrow(/seed cannot be 0.5/);
    expect(at({ parameters: { nonsense: 1 } })).toThrow(/no parameter of workload .* "nonsense"/);
  });
});

// A change here changes what `run WORKLOAD --seed N` means: traces made before are no longer comparable.
it.each([
  ['boot', '7c6248849bf686f6'],
  ['ovmf-flip', '73d82b6ca8652516'],
  ['swiotlb', '676f4b1ff5f78116'],
  ['accept', '8ce4e63411e0a9e2'],
  ['dma-ring', 'c7401e55282c8e14'],
  ['partial', '2d82652ad7e72cb9'],
  ['first-touch', '3e23da2481ddea43'],
])('%s gives the requests of its first release', (name, expected) => {
  expect(hash(requests(name))).toBe(expected);
});

describe('boot at 1 GiB', () => {
  const stream = requests('boot', { memoryBytes: 2 ** 30 });

  it('has the phases of a boot', () => {
    expect(stream.filter((request) => request.kind === 'mark').map(({ name }) => name)).toEqual([
      'firmware',
      'kernel',
      'userspace',
    ]);
  });

  it('flips about 5,000 buffers in firmware, mostly of 1 to 2 pages, nearly all under 32 KiB', () => {
    const firmware = stream.slice(
      0,
      stream.findIndex((request) => request.kind === 'mark' && request.name === 'kernel'),
    );
    const flips = conversions(firmware).filter(({ to }) => to === 'shared');
    expect(flips).toHaveLength(5000);
    const share = (test: (len: number) => boolean) => flips.filter(({ len }) => test(len)).length / flips.length;
    expect(share((len) => len <= 2 * PAGE_BYTES)).toBeGreaterThan(0.8);
    expect(share((len) => len < 32 * 1024)).toBeGreaterThan(0.95);
    expect(share((len) => len < 32 * 1024)).toBeLessThan(1);
  });

  it('uses the same places again and again', () => {
    const flips = conversions(stream).filter(({ to }) => to === 'shared');
    expect(new Set(flips.map(({ gpa, len }) => `${gpa}+${len}`)).size).toBeLessThan(flips.length / 3);
  });

  it('thinks for 1.5 to 2 s and touches little enough to run in a few seconds', () => {
    const thinkNs = stream.reduce((sum, { paceNs }) => sum + paceNs, 0);
    expect(thinkNs).toBeGreaterThan(1.5e9);
    expect(thinkNs).toBeLessThan(2e9);
    expect(touchedPages(stream)).toBeLessThan(100_000);
  });

  it('ends with all memory accepted and only the bounce buffer and the kept pieces shared', () => {
    const states = replayed(stream, 2 ** 30);
    expect(states.bytes('unaccepted')).toBe(0x6_0000);
    expect(states.bytes('shared')).toBeGreaterThan(2 ** 26);
    expect(states.bytes('shared')).toBeLessThan(2 ** 26 + 2 ** 25 / 2);
  });
});

describe('accept', () => {
  it('goes by 2 MiB where alignment allows it and by 4 KiB at the edges', () => {
    const memoryBytes = 2 ** 23 + 3 * PAGE_BYTES;
    const steps = conversions(requests('accept', { memoryBytes }));
    expect(steps.every(({ to }) => to === 'private')).toBe(true);
    expect(steps.map(({ gpa, len }) => [gpa, len])).toEqual([
      ...Array.from({ length: 256 }, (_, page) => [2 ** 20 + page * PAGE_BYTES, PAGE_BYTES]),
      [2 ** 21, 2 ** 21],
      [2 ** 22, 2 ** 21],
      [3 * 2 ** 21, 2 ** 21],
      [2 ** 23, PAGE_BYTES],
      [2 ** 23 + PAGE_BYTES, PAGE_BYTES],
      [2 ** 23 + 2 * PAGE_BYTES, PAGE_BYTES],
    ]);
  });

  it('touches the percentage of each step that it was given', () => {
    const parameters = { start: 0, 'touch-percent': 25 };
    expect(touchedPages(requests('accept', { parameters }))).toBe(MEMORY_BYTES / PAGE_BYTES / 4);
    expect(touchedPages(requests('accept', { parameters: { 'touch-percent': 0 } }))).toBe(0);
  });
});

describe('swiotlb', () => {
  it('shares the range in one request by default, in steps if told', () => {
    const shares = (step: number) =>
      conversions(requests('swiotlb', { parameters: { step } })).filter(({ to }) => to === 'shared');
    expect(shares(0).map(({ len }) => len)).toEqual([2 ** 26]);
    expect(shares(2 ** 21)).toHaveLength(32);
    expect(shares(48 * 2 ** 20).map(({ len }) => len)).toEqual([48 * 2 ** 20, 16 * 2 ** 20]);
  });

  it('leaves the range shared', () => {
    expect(replayed(requests('swiotlb')).bytes('shared')).toBe(2 ** 26);
  });
});

describe('dma-ring', () => {
  it('never has more buffers with the device than it was told, and gets all of them back', () => {
    let shared = 0;
    let most = 0;
    for (const request of conversions(requests('dma-ring', { parameters: { 'in-flight': 7 } })).slice(1)) {
      shared += request.to === 'shared' ? 1 : -1;
      most = Math.max(most, shared);
    }
    expect([most, shared]).toEqual([7, 0]);
  });

  it('uses every buffer of the ring in turn', () => {
    const stream = requests('dma-ring', { parameters: { buffers: 10, transfers: 25, 'in-flight': 20 } });
    const posts = conversions(stream).filter(({ to }) => to === 'shared');
    expect(posts.map(({ gpa }) => gpa)).toEqual(posts.map((_, i) => posts[i % 10]?.gpa));
    expect(new Set(posts.map(({ gpa }) => gpa)).size).toBe(10);
  });
});

describe('partial', () => {
  it('converts back in pieces that are no repetition of the request that shared them, and keeps the rest', () => {
    const stream = requests('partial');
    const [, shared, ...back] = conversions(stream);
    expect(shared).toMatchObject({ to: 'shared', len: 2 ** 25 });
    expect(back.length).toBeGreaterThan(50);
    const gpas = back.map(({ gpa }) => gpa);
    expect(gpas).not.toEqual([...gpas].sort((a, b) => a - b));
    const left = replayed(stream).bytes('shared') / 2 ** 25;
    expect(left).toBeGreaterThan(0.15);
    expect(left).toBeLessThan(0.35);
  });

  it.each([
    [0, 0],
    [100, 2 ** 25],
  ])('keeps %d percent', (keep, bytes) => {
    expect(replayed(requests('partial', { parameters: { 'keep-percent': keep } })).bytes('shared')).toBe(bytes);
  });
});

describe('first-touch', () => {
  const stream = requests('first-touch', { parameters: { chunk: 2 ** 16, chunks: 50 } });

  it('faults once on each chunk, not in order, and touches what it got at once', () => {
    const faults = conversions(stream);
    expect(new Set(faults.map(({ trigger, to, len }) => `${trigger} ${to} ${len}`))).toEqual(
      new Set(['exit_memory_fault private 65536']),
    );
    const gpas = faults.map(({ gpa }) => gpa);
    const inOrder = Array.from({ length: 50 }, (_, chunk) => chunk * 2 ** 16);
    expect(gpas).not.toEqual(inOrder);
    expect(gpas.sort((a, b) => a - b)).toEqual(inOrder);
    expect(stream.slice(1).map(({ kind }) => kind)).toEqual(faults.flatMap(() => ['convert', 'touch']));
    expect(touchedPages(stream)).toBe(50 * 4);
  });

  it('is the only workload whose memory has no slot yet', () => {
    expect(WORKLOADS.filter(({ faults }) => faults === true).map(({ name }) => name)).toEqual(['first-touch']);
  });
});

describe('findWorkload', () => {
  it('suggests the nearest name and lists all', () => {
    expect(() => findWorkload('ovmf-flipp')).toThrow('there is no workload "ovmf-flipp"');
    try {
      findWorkload('swiotbl');
    } catch (error) {
      expect(error).toMatchObject({
        code: 'USAGE',
        hint: 'did you mean swiotlb? valid: boot, ovmf-flip, swiotlb, accept, dma-ring, partial, first-touch',
      });
    }
  });

  it('suggests nothing where nothing is near', () => {
    expect(() => findWorkload('xxxxxxxxxxxx')).toThrow(
      expect.objectContaining({ hint: 'valid: boot, ovmf-flip, swiotlb, accept, dma-ring, partial, first-touch' }),
    );
  });
});
