import { writeFile } from 'node:fs/promises';
import type { ReplayReport } from '../bench/replay/replay.ts';
import { CvmtraceError } from '../native/index.ts';
import { toJson } from './json.ts';

/** Keeps a comparison beside the traces that it was made from. */
export async function writeReplayReport(path: string, report: ReplayReport, force: boolean): Promise<void> {
  try {
    await writeFile(path, `${toJson(report, 2)}\n`, { flag: force ? 'w' : 'wx' });
  } catch (cause) {
    throw new CvmtraceError('IO', `cannot write ${path}`, {
      path,
      hint: 'choose another folder, or overwrite with --force',
      cause,
    });
  }
}
