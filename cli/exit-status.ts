import type { ErrorCode } from '../native/index.ts';

/** Exit statuses, an interface that scripts rely on. Beside these, an interrupt is 128 + signal and `record` returns its command's own. */
export const ExitStatus = {
  done: 0,
  /** Done, and there is a finding (hazard, regression, threshold crossed) where the verb is asked to judge. */
  finding: 1,
  usage: 2,
  /** EX_DATAERR of sysexits.h: a bad or incompatible trace. */
  badInput: 65,
  /** EX_NOINPUT. */
  noInput: 66,
  /** EX_UNAVAILABLE: feature, permission or device that the host does not have. */
  unavailable: 69,
  /** EX_SOFTWARE: a bug in cvmtrace, or the lab's machine broke down. */
  bug: 70,
  /** EX_IOERR. */
  io: 74,
  interrupted: 130,
} as const;

/** Exit status of each kind of error. */
export const STATUS_OF_ERROR: Readonly<Record<ErrorCode, number>> = {
  USAGE: ExitStatus.usage,
  BAD_INPUT: ExitStatus.badInput,
  NO_INPUT: ExitStatus.noInput,
  UNAVAILABLE: ExitStatus.unavailable,
  IO: ExitStatus.io,
  CRASHED: ExitStatus.bug,
  INTERRUPTED: ExitStatus.interrupted,
};
