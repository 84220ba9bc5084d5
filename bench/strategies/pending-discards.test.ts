import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PendingDiscards } from './pending-discards.ts';

const WIDTH = 32;

type Step =
  | { readonly kind: 'add' | 'withdraw'; readonly start: number; readonly end: number }
  | { readonly kind: 'take'; readonly bytes: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(fc.constantFrom('add' as const, 'withdraw' as const), fc.nat(WIDTH), fc.nat(WIDTH))
    .map(([kind, a, b]) => ({ kind, start: Math.min(a, b), end: Math.max(a, b) })),
  fc.nat(WIDTH).map((bytes) => ({ kind: 'take' as const, bytes })),
);

describe('PendingDiscards', () => {
  it('waits for what a list of addresses in order of age waits for', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const pending = new PendingDiscards();
        // Age of each waiting address.
        const ages = new Map<number, number>();
        steps.forEach((action, age) => {
          if (action.kind === 'take') {
            const taken = pending.takeUntil(action.bytes);
            const addresses = taken.flatMap(({ start, end }) =>
              Array.from({ length: end - start }, (_, i) => start + i),
            );
            expect(new Set(addresses).size).toBe(addresses.length);
            // Whole ranges go, oldest first: nothing that stays is older than anything that went.
            const gone = addresses.map((address) => ages.get(address) ?? NaN);
            for (const address of addresses) expect(ages.delete(address)).toBe(true);
            const youngestGone = Math.max(-1, ...gone);
            for (const left of ages.values()) expect(left).toBeGreaterThanOrEqual(youngestGone);
            expect(ages.size).toBeLessThanOrEqual(action.bytes);
          } else {
            for (let address = action.start; address < action.end; address++) {
              if (action.kind === 'add') ages.set(address, age);
              else ages.delete(address);
            }
            if (action.kind === 'add') pending.add(action.start, action.end);
            else pending.withdraw(action.start, action.end);
          }
          expect(pending.bytes).toBe(ages.size);
        });
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it('merges neighbours into one range', () => {
    const pending = new PendingDiscards();
    pending.add(8, 12);
    pending.add(0, 4);
    pending.add(4, 8);
    expect(pending.takeUntil(0)).toEqual([{ start: 0, end: 12 }]);
  });
});
