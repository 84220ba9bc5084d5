import { readdirSync, readFileSync, statSync } from 'node:fs';
import { AREA_VARIABLE } from './preload.ts';

/** The living processes of a recording. */
export interface AttachedProcesses {
  /** The recording's memory is mapped: the library is in them, whether they made a row or not. */
  readonly attached: readonly number[];
  /** They have the recording in their environment only: they have just been executed, or cannot have the library. */
  readonly others: readonly number[];
}

/**
 * Looks at all processes. One that has ended and was not waited for has no mappings any more; those of other users cannot be looked at.
 * @param areaPath `NativeRecorder.path`
 */
export function attachedProcesses(areaPath: string): AttachedProcesses {
  const inode = ` ${statSync(areaPath).ino} `;
  const variable = `${AREA_VARIABLE}=${areaPath}\0`;
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid);
  const attached = pids.filter((pid) =>
    readOf(pid, 'maps')
      .split('\n')
      .some((line) => line.includes(inode) && line.includes('/memfd:cvmtrace-record')),
  );
  const others = pids.filter((pid) => !attached.includes(pid) && readOf(pid, 'environ').includes(variable));
  return { attached, others };
}

function readOf(pid: number, file: 'maps' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // It has ended meanwhile, or is another user's.
    return '';
  }
}
