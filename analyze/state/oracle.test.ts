/** Views over the walk's tables against a model that goes page by page, on random traces of every kind of overlap. */
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Analysis } from '../db/analysis.ts';
import { analysisOf, selectFrom } from '../testing/inline-traces.ts';
import { PageOracle, type Totals } from '../testing/page-oracle.ts';
import { HIGH, PAGE, traceOf, VmmStory, type StoryRow } from '../testing/vmm-story.ts';

const TRACES = 60;
const STEPS = 40;
const SLOT_PAGES = 12;
const LIMIT_SEQ = 30;

interface RandomCalls {
  readonly rows: readonly StoryRow[];
  readonly oracle: PageOracle;
  /** State after row LIMIT_SEQ. */
  readonly middle: ReturnType<PageOracle['now']>;
  readonly changesSlots: boolean;
  readonly times: boolean;
}

/** Calls at random, right and wrong ones, each answered as the kernel would. */
function randomTrace(seed: number): RandomCalls {
  const generator = xoroshiro128plus(Math.imul(seed, 0x9e37_79b1));
  for (let i = 0; i < 8; i++) generator.next();
  const random = (limit: number): number => Math.floor(((generator.next() >>> 0) / 2 ** 32) * limit);
  const shape = random(2) === 0 ? 'own' : 'recorded';
  const times = random(2) === 0;
  const changesSlots = shape === 'recorded' && random(3) === 0;
  const apis = ['type1', 'iommufd'] as const;
  const makers = apis.map((api) => new VmmStory({ shape, api, slotBytes: SLOT_PAGES * PAGE }));
  const [vmm, second] = makers as [VmmStory, VmmStory];
  second.dma = vmm.dma + 1;
  const oracle = new PageOracle();
  let middle: ReturnType<PageOracle['now']> = new Map();
  let seq = 0;
  const rows: StoryRow[] = [];
  const take = (maker: VmmStory): void => {
    for (const row of maker.rows.splice(0)) {
      row.ts_ns = 1000 + seq * 100;
      rows.push(row);
      oracle.step(row, seq);
      if (seq === LIMIT_SEQ) middle = oracle.now();
      seq++;
    }
  };
  /** A range in one slot, or out of it over its end (in a file's offsets and host addresses, that is into the next slot). */
  const range = (): [number, number] => {
    const first = random(SLOT_PAGES);
    const most = SLOT_PAGES - first;
    return [(random(2) === 0 ? 0 : HIGH) + first * PAGE, (1 + random(Math.min(most, 1 + random(most)))) * PAGE];
  };
  take(vmm.open());
  take(second.container());
  const slots = new Set([0, 1]);
  for (let step = 0; step < STEPS; step++) {
    const maker = makers[random(2)] as VmmStory;
    const [gpa, len] = range();
    const fails = random(8) === 0 ? { errno: 12, result: undefined } : {};
    switch (random(changesSlots ? 15 : 14)) {
      case 0:
      case 1:
      case 2:
        maker.attributes(random(2) === 0 ? 'private' : 'shared', gpa, len, fails);
        break;
      case 3:
        maker.attributes2(random(2) === 0 ? 'private' : 'shared', gpa, len, fails);
        break;
      case 4:
        maker.allocate(random(2) === 0 ? 'private' : 'shared', gpa, len);
        break;
      case 5:
      case 6:
        maker.discard(random(2) === 0 ? 'private' : 'shared', gpa, len, fails);
        break;
      case 7:
        maker.advise(gpa, len, [4, 9, 15][random(3)] ?? 4, fails);
        break;
      case 8:
      case 9:
      case 10:
        if ('errno' in fails) maker.map(gpa, len, fails);
        else if (!oracle.isMapped(maker.dma, gpa, len)) maker.map(gpa, len);
        else if (random(3) > 0) maker.map(gpa, len, { errno: 17 });
        else {
          // The same range once more, as if an unmap had been missed.
          const [first] = oracle.mappings(maker.dma);
          if (first) maker.map(first.iova, first.len);
        }
        break;
      case 11:
      case 12: {
        const row = maker.unmap(gpa, len);
        // One in four type1 unmaps is the compatibility mode's, which cuts: then the result says how much went.
        const answer = oracle.answer(row);
        const cuts = answer.errno === 22 && random(4) === 0;
        const bytes = cuts ? len / PAGE : 0;
        const mapped = cuts
          ? Array.from({ length: bytes }, (_, i) => gpa + i * PAGE).filter((page) =>
              oracle.isMapped(maker.dma, page, PAGE),
            ).length
          : 0;
        Object.assign(row, { result: undefined, ...answer, ...(cuts && { errno: 0, result: mapped * PAGE }) });
        break;
      }
      case 13:
        if (random(3) === 0) maker.unmapAll(oracle.mappings(maker.dma).reduce((sum, { len }) => sum + len, 0));
        else if (random(3) === 0) {
          maker.close(maker.dma);
          maker.dma += 2;
          maker.container();
        } else if (maker.options.api === 'type1') {
          const [first] = oracle.mappings(maker.dma);
          if (first) {
            maker.unmapVaddr(first.iova, first.len);
            maker.mapVaddr(first.iova, first.len);
          }
        }
        break;
      default: {
        const number = random(2);
        const begin = number === 0 ? 0 : HIGH;
        const gone = slots.delete(number);
        if (!gone) slots.add(number);
        vmm.slot(number, begin, gone ? 0 : SLOT_PAGES * PAGE);
        maker.nowNs = vmm.nowNs;
      }
    }
    take(maker);
    take(vmm);
  }
  return { rows, oracle, middle, changesSlots, times };
}

const traces = Array.from({ length: TRACES }, (_, i) => randomTrace(i + 1));

let analysis: Analysis;
beforeAll(async () => {
  analysis = await analysisOf(traces.flatMap(({ rows, times }, trace) => traceOf(rows, trace, times)));
});
afterAll(() => analysis.close());

type Row = Record<string, unknown>;

async function byTrace(sql: string): Promise<Row[][]> {
  const found: Row[][] = traces.map(() => []);
  for (const row of await selectFrom(analysis, sql)) found[Number(row.trace)]?.push(row);
  return found;
}

/** Compares as sorted texts, so that a failure names what is missing and what is too much. */
function expectSame(trace: number, got: readonly string[], want: readonly string[]): void {
  const [haves, wants] = [new Set(got), new Set(want)];
  const difference = {
    trace,
    tooMuch: got.filter((one) => !wants.has(one)),
    missing: want.filter((one) => !haves.has(one)),
    twice: got.length - haves.size,
  };
  expect(difference).toEqual({ trace, tooMuch: [], missing: [], twice: 0 });
}

const pages = (start: number, len: number): number[] => Array.from({ length: len / PAGE }, (_, i) => start + i * PAGE);
const text = (...values: readonly unknown[]): string => values.map(String).join(' ');

test('memslots', async () => {
  const found = await byTrace('select trace, slot, gpa, len, hva, gmem_offset, from_seq, past_seq from memslots');
  traces.forEach(({ oracle }, trace) => {
    expectSame(
      trace,
      (found[trace] ?? []).map((row) =>
        text(row.slot, row.gpa, row.len, row.hva, row.gmem_offset, row.from_seq, row.past_seq),
      ),
      oracle.slots.map((slot) => text(slot.slot, slot.gpa, slot.len, slot.hva, slot.gmemOffset, slot.from, slot.past)),
    );
  });
});

test('page_stays', async () => {
  const found = await byTrace('select trace, gpa, len, is_private, from_seq, past_seq from page_stays');
  traces.forEach(({ oracle }, trace) => {
    expectSame(
      trace,
      (found[trace] ?? []).flatMap((row) =>
        pages(Number(row.gpa), Number(row.len)).map((page) => text(page, row.is_private, row.from_seq, row.past_seq)),
      ),
      oracle.stays.map((stay) => text(stay.page, stay.isPrivate, stay.from, stay.past)),
    );
  });
});

test('dma_mappings, page by page', async () => {
  const found = await byTrace('select trace, obj, iova, len, gpa, map_seq, unmap_seq from dma_mappings');
  traces.forEach(({ oracle }, trace) => {
    const known = new Map(oracle.mapped.map((page) => [text(page.obj, page.iova, page.from), page.gpa !== null]));
    expectSame(
      trace,
      (found[trace] ?? []).flatMap((row) =>
        pages(Number(row.iova), Number(row.len)).map((iova, i) => {
          const gpa =
            known.get(text(row.obj, iova, row.map_seq)) && row.gpa !== null ? Number(row.gpa) + i * PAGE : null;
          return text(row.obj, iova, gpa, row.map_seq, row.unmap_seq);
        }),
      ),
      oracle.mapped.map((page) => text(page.obj, page.iova, page.gpa, page.from, page.past)),
    );
  });
});

test('memory_over_time, after each row', async () => {
  const names = [
    'private_bytes',
    'shared_bytes',
    'private_held_bytes',
    'shared_held_bytes',
    'doubly_held_bytes',
    'dma_mapped_bytes',
    'live_mappings',
  ] as const;
  const found = await byTrace(`select trace, seq, ${names.join(', ')} from memory_over_time order by seq`);
  traces.forEach(({ oracle, rows, changesSlots }, trace) => {
    if (changesSlots) return;
    const told = new Map((found[trace] ?? []).map((row) => [row.seq, row]));
    let now: Row = Object.fromEntries(names.map((name) => [name, 0]));
    const got: string[] = [];
    const want: string[] = [];
    rows.forEach((row, seq) => {
      now = told.get(seq) ?? now;
      const right = oracle.totals[seq] as Totals;
      got.push(text(seq, row.op, ...names.map((name) => now[name])));
      want.push(text(seq, row.op, ...names.map((name) => right[name])));
    });
    expectSame(trace, got, want);
  });
});

test.each([LIMIT_SEQ, 100_000])('page_state_at_seq(%i)', async (seq) => {
  const found = await byTrace(`select * from page_state_at_seq(${seq})`);
  traces.forEach(({ oracle, middle, changesSlots, rows }, trace) => {
    // A mapping over the end of a slot names one gpa: its other pages are not in the view.
    if (changesSlots || oracle.mapped.some(({ gpa }) => gpa === null)) return;
    expect(rows.length).toBeGreaterThan(LIMIT_SEQ);
    const state = seq === LIMIT_SEQ ? middle : oracle.now();
    expectSame(
      trace,
      (found[trace] ?? []).flatMap((row) =>
        pages(Number(row.gpa), Number(row.len)).map((page) =>
          text(page, row.side, row.private_held, row.shared_held, row.dma_mappings),
        ),
      ),
      [...state].map(([page, one]) => text(page, one.side, one.private_held, one.shared_held, one.dma_mappings)),
    );
  });
});
