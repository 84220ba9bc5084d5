/** Ranges that changed sides again and again, told as few findings as there are ranges. */
import { STORM_FLIPS } from './flip-rings.ts';
import { RangeList } from './range-list.ts';
import type { StateSink } from './sink.ts';
import { range } from './words.ts';

export class FlipStorms {
  readonly #sink: StateSink;
  /** By VM; value: flips. */
  readonly #storms = new Map<number, RangeList>();

  constructor(sink: StateSink) {
    this.#sink = sink;
  }

  stormed(vm: number, gpa: number, past: number, seq: number, ns: number): void {
    let list = this.#storms.get(vm);
    if (!list) this.#storms.set(vm, (list = new RangeList()));
    let flips = STORM_FLIPS;
    list.forEach(gpa, past, (_from, _to, before) => {
      flips = Math.max(flips, before + 1);
    });
    list.set(gpa, past, flips, seq, ns);
  }

  end(): void {
    for (const [vm, list] of this.#storms) this.#tell(vm, list);
  }

  #tell(vm: number, list: RangeList): void {
    let from = -1;
    let past = -1;
    let flips = 0;
    let seq = -1;
    let ns = -1;
    const tell = (): void => {
      if (from < 0) return;
      this.#sink.hazard({
        kind: 'flip_storm',
        severity: 'warning',
        seq,
        ns,
        vm,
        gpa: from,
        len: past - from,
        count: flips,
        proof: [seq],
        explanation: `${range(from, past)} changes sides again and again, ${flips} times so fast that ${STORM_FLIPS} are within a second`,
      });
    };
    list.forEach(0, Infinity, (start, end, value, at, atNs) => {
      if (start !== past) {
        tell();
        from = start;
        flips = 0;
      }
      past = end;
      if (value <= flips) return;
      flips = value;
      seq = at;
      ns = atNs;
    });
    tell();
  }
}
