import { constants } from 'node:os';

/** A call in the output of `strace -f -X raw -yy -o FILE`. */
export interface StraceCall {
  readonly tid: number;
  readonly name: string;
  /** What strace says of the first argument's file; "" for none. */
  readonly path: string;
  /** Arguments as raw text, without what -yy adds. */
  readonly args: readonly string[];
  readonly result: number;
  /** 0 = success. */
  readonly errno: number;
}

const LINE = /^(\d+) +(\w+)\((.*?)\) += (-?(?:0x)?[0-9a-f]+)(?:<[^>]*>)?(?: (E[A-Z0-9]+))?/;
const UNFINISHED = /^(\d+) +(.*?) ?<unfinished \.\.\.>$/;
const RESUMED = /^(\d+) +<\.\.\. \w+ resumed>(.*)$/;

/** The calls in the order in which they began; those that never returned are left out. */
export function straceCalls(text: string): StraceCall[] {
  const lines: string[] = [];
  const open = new Map<string, number>();
  for (const line of text.split('\n')) {
    const begun = UNFINISHED.exec(line);
    if (begun) open.set(begun[1] ?? '', lines.push(`${begun[1]} ${begun[2]}`) - 1);
    const resumed = RESUMED.exec(line);
    if (resumed) {
      const at = open.get(resumed[1] ?? '') ?? -1;
      lines[at] = `${lines[at]}${resumed[2]}`;
    }
    if (!begun && !resumed) lines.push(line);
  }
  return lines.flatMap((line) => {
    const match = LINE.exec(line);
    if (!match) return [];
    const [, tid, name = '', text = '', result, error] = match;
    return [
      {
        tid: Number(tid),
        name,
        path: /^\d+<([^>]*(?:<[^>]*>)?)>/.exec(text)?.[1] ?? '',
        args: text.replace(/(\d+)<[^,]*>/g, '$1').split(/, ?/),
        result: Number(result),
        errno: error === undefined ? 0 : errnoOf(error),
      },
    ];
  });
}

function errnoOf(name: string): number {
  const value = (constants.errno as Readonly<Record<string, number | undefined>>)[name];
  if (value === undefined) throw new Error(`unknown errno ${name}`);
  return value;
}
