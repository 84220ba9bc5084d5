import { bytesOf, Cursor } from '../cursor.ts';

const SPACE = 0x20;
const SMALL_S = 0x73;

/** At the end of a line whose call goes on. */
export const UNFINISHED = bytesOf(' <unfinished ...>');
/** The same, when strace leaves the process. */
const DETACHED = bytesOf(' <detached ...>');
const ATTACHED = bytesOf('strace: Process ');
const ATTACHED_END = bytesOf(' attached');

const probe = new Cursor();

/** Where the text of a call ends that the line bytes[start, end) only begins; -1 if it ends there too. */
export function unfinishedAt(bytes: Uint8Array, start: number, end: number): number {
  for (const mark of [UNFINISHED, DETACHED]) {
    if (end - mark.length < start || !probe.reset(bytes, end - mark.length, end).looking(mark)) continue;
    let at = end - mark.length;
    while (at > start && bytes[at - 1] === SPACE) at--;
    return at;
  }
  return -1;
}

/** Where a message of strace's begins that ends the line ("strace: Process 7 attached"): stderr is shared; -1 if there is none. */
export function messageAt(bytes: Uint8Array, start: number, end: number): number {
  const tail = end - ATTACHED_END.length;
  if (tail < start || !probe.reset(bytes, tail, end).looking(ATTACHED_END)) return -1;
  for (let at = tail; at >= start; at--) {
    if (bytes[at] === SMALL_S && probe.reset(bytes, at, end).looking(ATTACHED)) return at;
  }
  return -1;
}
