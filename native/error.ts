/**
 * The one error class of the project. Libraries throw it or return values; only `cli/` prints, and maps `code` to an exit status.
 */

/** What went wrong, in the terms of the exit statuses that the command line documents. */
export type ErrorCode =
  /** The caller asked for something that does not exist or does not fit together (exit 2). */
  | 'USAGE'
  /** A trace, or another input, that is damaged, foreign or of another version (exit 65). */
  | 'BAD_INPUT'
  /** An input that is not there (exit 66). */
  | 'NO_INPUT'
  /** The host cannot do it: feature, permission, device, memory (exit 69). */
  | 'UNAVAILABLE'
  /** Reading or writing failed: disk full, file exists, permission on a file (exit 74). */
  | 'IO'
  /** Something that cvmtrace runs and answers for broke down: the lab's machine (exit 70). */
  | 'CRASHED'
  /** The user interrupted it (exit 130). */
  | 'INTERRUPTED';

export interface ErrorDetails {
  /** What to do about it, one sentence without a full stop at its start or "hint:". */
  readonly hint?: string;
  /** The file that the error is about. */
  readonly path?: string;
  /** 1-based line in `path`. */
  readonly line?: number;
  /** Lines of what broke down, printed as they are between the message and the hint. */
  readonly output?: readonly string[];
  readonly cause?: unknown;
}

export class CvmtraceError extends Error {
  override readonly name = 'CvmtraceError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly path: string | undefined;
  readonly line: number | undefined;
  readonly output: readonly string[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.path = details.path;
    this.line = details.line;
    this.output = details.output ?? [];
  }
}
