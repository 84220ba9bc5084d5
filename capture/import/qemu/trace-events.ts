import { readFileSync, statSync } from 'node:fs';
import { CvmtraceError } from '../../../native/index.ts';
import { errnoOf, messageOf } from '../../trace/file-error.ts';

/** QEMU's own has 600 KiB. */
const MAX_BYTES = 32 * 1024 * 1024;

/** An event as QEMU's `trace-events-all` declares it. */
export interface DeclaredEvent {
  readonly name: string;
  /** Which of its arguments are texts, in order. */
  readonly texts: readonly boolean[];
}

/**
 * The events of a `trace-events-all` file; their order is that of the event ids in simpletrace files before version 4.
 * @throws CvmtraceError NO_INPUT, IO, or BAD_INPUT if it declares nothing.
 */
export function readDeclaredEvents(path: string): readonly DeclaredEvent[] {
  let text: string;
  try {
    if (statSync(path).size > MAX_BYTES)
      throw new CvmtraceError('BAD_INPUT', `${path} is too long for a trace-events file`);
    text = readFileSync(path, 'latin1');
  } catch (cause) {
    if (cause instanceof CvmtraceError) throw cause;
    const missing = errnoOf(cause) === 'ENOENT';
    throw new CvmtraceError(
      missing ? 'NO_INPUT' : 'IO',
      missing ? `${path} does not exist` : `${path} cannot be read: ${messageOf(cause)}`,
      { path, hint: 'it is installed with QEMU, as /usr/share/qemu/trace-events-all', cause },
    );
  }
  const events = parseDeclaredEvents(text);
  if (events.length > 0) return events;
  throw new CvmtraceError('BAD_INPUT', `${path} declares no trace events`, {
    path,
    hint: 'give the trace-events-all of the QEMU that wrote the log',
  });
}

/** Declarations such as `disable kvm_x(int type, const char *name) "type %d %s"`. */
export function parseDeclaredEvents(text: string): readonly DeclaredEvent[] {
  const lines = text.replace(/\\\r?\n/g, ' ').split('\n');
  return lines.flatMap((line) => {
    const [, name, args] = /^(?:[a-z=\w]+ )*(\w+)\(([^)]*)\)/.exec(line) ?? [];
    if (name === undefined || args === undefined) return [];
    const types = args.trim() === 'void' || args.trim() === '' ? [] : args.split(',');
    return [{ name, texts: types.map((type) => /^\s*(?:const\s+)?char\s*\*/.test(type)) }];
  });
}
