/** Kinds that are counted apart; what comes after them is counted together. */
const MAX_KINDS = 64;
const OTHER_KINDS = 'other kinds';

/** Line numbers that are kept of each kind. */
const FIRST_LINES = 3;

export interface TroubleKind {
  readonly kind: string;
  /** True: understood, and of no interest. */
  readonly skipped: boolean;
  /** Lines or records. */
  readonly count: number;
  /** The first few, from 1. */
  readonly lines: readonly number[];
}

interface Counted {
  count: number;
  readonly lines: number[];
}

/** Counts by kind what an import did not use, with the first lines of each. */
export class Troubles {
  /** The line or record that is being read, for what finds a trouble without knowing where. */
  lineNumber = 0;
  readonly #added = new Map<string, Counted>();
  readonly #skipped = new Map<string, Counted>();

  /** Something that could not be used; `kind` is a short stable phrase ("cut line", "unknown event", "bad number"). */
  add(kind: string, line = this.lineNumber): void {
    count(this.#added, kind, line);
  }

  /** Understood, and of no interest here (another trace event, an ordinary log line). */
  skip(kind: string, line = this.lineNumber): void {
    count(this.#skipped, kind, line);
  }

  /** All kinds: what could not be used before what was skipped, each by count. */
  kinds(): readonly TroubleKind[] {
    const list = (kinds: Map<string, Counted>, skipped: boolean): TroubleKind[] =>
      [...kinds]
        .map(([kind, { count, lines }]) => ({ kind, skipped, count, lines }))
        .sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1));
    return [...list(this.#added, false), ...list(this.#skipped, true)];
  }
}

function count(kinds: Map<string, Counted>, kind: string, line: number): void {
  let counted = kinds.get(kind);
  if (!counted) {
    if (kinds.size >= MAX_KINDS - 1 && kind !== OTHER_KINDS) {
      count(kinds, OTHER_KINDS, line);
      return;
    }
    counted = { count: 0, lines: [] };
    kinds.set(kind, counted);
  }
  counted.count++;
  if (counted.lines.length < FIRST_LINES) counted.lines.push(line);
}
