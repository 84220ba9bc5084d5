import { headLines } from '../head-lines.ts';
import type { LineFormat } from '../format.ts';
import { StraceParser } from './parser.ts';

/** What begins a line of strace's: thread, time, and in brackets what -n and -i add. */
const LEADER = String.raw`(?:\[pid +\d+[^\]]*\] +|\d+(?:<[^>]*>)? +)?(?: *\d+:\d\d:\d\d(?:\.\d+)? +| *\d+(?:\.\d+)? +)?(?:\(\+ *[\d.]+\) )?(?:\[[^\]]*\] )*`;

/** A call with its result, or one half of a call. */
const CALL = new RegExp(
  `^${LEADER}(?:[a-z_][a-z0-9_]*\\(.*(?:\\) += (?:\\?|-?\\d|0x)|<unfinished \\.\\.\\.>$)|<\\.\\.\\. [a-z_0-9]+ resumed>)`,
);
const EXIT = new RegExp(`^${LEADER}(?:\\+\\+\\+ (?:exited|killed) |--- SIG[A-Z0-9]+ \\{)`);

/** ftrace's and perf's system calls have a result too, but say in words what each argument is. */
const OTHER_TRACER = /\(\s*[a-z_]+: /;

export const straceFormat: LineFormat = {
  kind: 'lines',
  name: 'strace',
  summary: 'strace, with -f, -y, -T and any of its time stamps',
  madeBy: 'strace -f -ttt -T -yy -X verbose -e trace=ioctl,fallocate,madvise,mmap,munmap,openat,close -o LOG COMMAND',
  detect(head) {
    const lines = headLines(head).filter((line) => line !== '');
    const found = lines.filter((line) => (CALL.test(line) || EXIT.test(line)) && !OTHER_TRACER.test(line)).length;
    if (found === 0) return 0;
    // Output of the program and comments may be between.
    return Math.min(95, 40 + Math.round((60 * found) / lines.length) + Math.min(found, 5));
  },
  open: (context) => new StraceParser(context),
};
