import { bytesOf, wordHash, type Cursor } from './cursor.ts';

interface Named<T> {
  readonly bytes: Uint8Array;
  readonly value: T;
}

/** What the names in a text stand for, found without making strings. */
export class NameTable<T> {
  readonly #byHash = new Map<number, Named<T>>();

  constructor(entries: Iterable<readonly [string, T]>) {
    for (const [name, value] of entries) {
      const hash = wordHash(name);
      if (this.#byHash.has(hash)) throw new Error(`${name} is twice in a table, or has the hash of another name`);
      this.#byHash.set(hash, { bytes: bytesOf(name), value });
    }
  }

  /** Moves past the identifier here and returns what it stands for; undefined for another one, or if there is none. */
  read(cursor: Cursor): T | undefined {
    const named = this.#byHash.get(cursor.word());
    return named && cursor.wordIs(named.bytes) ? named.value : undefined;
  }
}

const OR = 0x7c;
const HUGE_SHIFT = bytesOf('<<MAP_HUGE_SHIFT');
const MAP_HUGE_SHIFT = 26;
const COMMENT = bytesOf(' /* ');
const COMMENT_END = bytesOf(' */');

/** Moves past a comment, as strace's `-X verbose` puts behind a number, or strace itself behind one that it has no name for. */
export function skipComment(cursor: Cursor): void {
  if (cursor.looking(COMMENT)) cursor.findPast(COMMENT_END);
}

/**
 * Reads flags: names and numbers joined with "|". Returns their sum as an unsigned number, -1 if one of them is neither a number nor in the table, or
 * passes 32 bits.
 */
export function readFlags(cursor: Cursor, table: NameTable<number>): number {
  let flags = 0;
  do {
    if (cursor.number()) {
      if (cursor.hi !== 0) return -1;
      // MAP_HUGETLB|21<<MAP_HUGE_SHIFT
      flags |= cursor.skip(HUGE_SHIFT) ? cursor.lo << MAP_HUGE_SHIFT : cursor.lo;
      skipComment(cursor);
      continue;
    }
    const value = table.read(cursor);
    if (value === undefined) return -1;
    flags |= value;
  } while (cursor.skipByte(OR));
  return flags >>> 0;
}
