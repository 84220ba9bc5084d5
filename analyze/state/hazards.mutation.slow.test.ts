/** Random traces of a VMM without faults are clean; one fault put into them is found as that kind, at that row, and as nothing else. */
import { describe, expect, test, beforeAll } from 'vitest';
import type { InlineRow } from '../testing/inline-rows.ts';
import { hazardsByTrace, type FoundHazard } from '../testing/inline-traces.ts';
import { FAULTS, randomTrace, type Fault, type RandomTrace } from '../testing/random-vmm.ts';
import { traceOf } from '../testing/vmm-story.ts';

const SEEDS = 45;

interface Case extends RandomTrace {
  readonly seed: number;
  readonly fault: Fault | undefined;
}

const cases: Case[] = [];
for (let seed = 1; seed <= SEEDS; seed++) {
  const clean = randomTrace(seed);
  cases.push({ ...clean, seed, fault: undefined });
  // Each seed has some of the faults, so that all of them come often and under many policies.
  const faults = (Object.keys(FAULTS) as Fault[]).filter((fault, i) => clean.chances[fault] && (i + seed) % 3 === 0);
  for (const fault of faults) {
    const chance = (seed * 7919) % (clean.chances[fault] ?? 1);
    cases.push({ ...randomTrace(seed, { fault, chance }), seed, fault });
  }
}

let found: Map<number, FoundHazard[]>;
beforeAll(async () => {
  const rows: InlineRow[] = cases.flatMap(({ rows, policy }, trace) => traceOf(rows, trace, policy.times));
  found = await hazardsByTrace(rows);
}, 60_000);

function show(hazards: readonly FoundHazard[]): string {
  return hazards.map(({ kind, seq, explanation }) => `${kind} at ${seq} (${explanation})`).join('; ');
}

function policyOf({ seed, policy }: Case): string {
  return `seed ${seed}: ${Object.values(policy).join(' ')}`;
}

test('without a fault nothing is found', () => {
  const wrong = cases.flatMap((one, trace) => {
    const hazards = one.fault ? [] : (found.get(trace) ?? []);
    return hazards.length > 0 ? [`${policyOf(one)}: ${show(hazards)}`] : [];
  });
  expect(wrong).toEqual([]);
});

describe('one fault', () => {
  test.each(Object.entries(FAULTS))('%s: %s', (fault, kind) => {
    const mine = cases.map((one, trace) => ({ ...one, trace })).filter((one) => one.fault === fault);
    expect(mine.length).toBeGreaterThanOrEqual(2);
    const wrong = mine.flatMap((one) => {
      const hazards = found.get(one.trace) ?? [];
      const at = one.at ? one.rows.indexOf(one.at) : -1;
      const right =
        hazards.length === 1 && hazards[0]?.kind === kind && (hazards[0].seq === at || hazards[0].proof.includes(at));
      return right ? [] : [`${policyOf(one)}: at ${at}, found ${show(hazards) || 'nothing'}`];
    });
    expect(wrong).toEqual([]);
  });
});
