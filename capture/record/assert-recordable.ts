import { basename } from 'node:path';
import { CvmtraceError, type Native } from '../../native/index.ts';
import { readProgramFile } from './program-file.ts';

/** e_machine of elf(5) by Node's name of the CPU. */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/** As many scripts may name one another as interpreter in the kernel (BINPRM_MAX_RECURSION). */
const MAX_SCRIPTS = 5;

/**
 * Refuses a program that the preload library cannot be loaded into. What it starts in turn is not looked at.
 * @param path the file that will be executed
 * @throws CvmtraceError UNAVAILABLE
 */
export function assertRecordable(native: Pick<Native, 'secureExecution'>, path: string): void {
  let program = path;
  for (let scripts = 0; scripts <= MAX_SCRIPTS; scripts++) {
    const file = readProgramFile(program);
    if (file.kind === 'script') {
      program = file.interpreter;
      continue;
    }
    if (file.kind === 'other') return;
    const what = program === path ? path : `${program}, which runs ${path},`;
    const secure = native.secureExecution(program);
    if (secure !== '') {
      const cause = secure === 'capabilities' ? 'has file capabilities' : `is ${secure}`;
      throw cannotPreload(what, `${cause}, so that the dynamic linker ignores LD_PRELOAD`, [
        'run it as the user that it becomes',
      ]);
    }
    if (file.machine !== MACHINES[process.arch] || file.bits !== 64)
      throw cannotPreload(what, `is a program for another machine than the ${process.arch} that cvmtrace runs on`, []);
    const loader = basename(file.interpreter ?? program);
    if (file.interpreter === null && !loader.startsWith('ld-linux'))
      throw cannotPreload(what, 'is statically linked', ['build it dynamically linked']);
    if (loader.startsWith('ld-musl'))
      throw cannotPreload(what, 'is linked with musl, and the library needs glibc', ['build it with glibc']);
    return;
  }
}

function cannotPreload(what: string, reason: string, remedies: readonly string[]): CvmtraceError {
  const trace =
    'trace it with strace -f -ttt -T -yy -X verbose -o LOG COMMAND, and read LOG with cvmtrace import LOG -o OUT';
  return new CvmtraceError('UNAVAILABLE', `${what} cannot be recorded: it ${reason}`, {
    hint: [...remedies, trace].join('; or '),
  });
}
