import { CommanderError } from 'commander';
import { CvmtraceError, type ErrorCode } from '../native/index.ts';
import { ExitStatus, STATUS_OF_ERROR } from './exit-status.ts';
import { oneLine } from './printable.ts';

/** An error as the user sees it: one line, one hint, and for a bug the stack. */
export interface Failure {
  readonly status: number;
  readonly message: string;
  readonly hint: string;
  /** A bug of ours: shown with its stack. */
  readonly unexpected?: boolean;
  /** Lines of what broke down, between the message and the hint. */
  readonly output?: readonly string[];
  /** With causes; shown if it was unexpected, or on --debug. */
  readonly stack: string;
}

/** Turns whatever was thrown in a verb into what is printed and returned. */
export function describeFailure(error: unknown, verb: string | undefined): Failure {
  const stack = stackOf(error);
  if (error instanceof CommanderError) return { ...describeParseError(error, verb), stack };
  if (error instanceof CvmtraceError) {
    return {
      status: STATUS_OF_ERROR[error.code],
      message: oneLine(locate(error)),
      hint: oneLine(error.hint ?? defaultHint(error.code, verb)),
      output: error.output.map(oneLine),
      stack,
    };
  }
  if (isSystemError(error)) {
    return {
      status: error.code === 'ENOENT' ? ExitStatus.noInput : ExitStatus.io,
      message: oneLine(error.message),
      hint: 'check the path, its permissions and the free space',
      stack,
    };
  }
  return {
    status: ExitStatus.bug,
    unexpected: true,
    message: `unexpected error, this is a bug: ${oneLine(error instanceof Error ? error.message : String(error))}`,
    hint: "report it to cvmtrace's maintainers with the command, the stack below and the output of: cvmtrace probe --json",
    stack,
  };
}

/** The message, preceded by the file it is about unless it names that file itself. */
function locate(error: CvmtraceError): string {
  if (error.path === undefined || error.message.includes(error.path)) return error.message;
  return `${error.path}${error.line === undefined ? '' : `:${error.line}`}: ${error.message}`;
}

function defaultHint(code: ErrorCode, verb: string | undefined): string {
  switch (code) {
    case 'USAGE':
      return seeHelp(verb);
    case 'BAD_INPUT':
      return 'cvmtrace verify says what is wrong with a trace; cvmtrace recover saves what a crash left';
    case 'NO_INPUT':
      return 'check the path';
    case 'UNAVAILABLE':
      return 'cvmtrace probe says what this host can do and what would change that';
    case 'CRASHED':
    case 'IO':
      return 'check the path, its permissions and the free space';
    case 'INTERRUPTED':
      return 'run it again to start over';
  }
}

function seeHelp(verb: string | undefined): string {
  return verb === undefined ? 'see: cvmtrace --help' : `see: cvmtrace ${verb} --help`;
}

/** Commander writes "error: what" and, on a second line, "(Did you mean X?)". */
function describeParseError(error: CommanderError, verb: string | undefined): Omit<Failure, 'stack'> {
  const [first = '', ...rest] = error.message.split('\n');
  const suggestion = /^\((Did you mean .*\?)\)$/.exec(rest.join(' ').trim())?.[1];
  const message = first.replace(/^error: /, '').replace('unknown command', 'unknown verb');
  return {
    status: ExitStatus.usage,
    message: oneLine(message),
    hint: suggestion === undefined ? seeHelp(verb) : oneLine(suggestion.replace(/^Did/, 'did')),
  };
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown: ${String(error)}`;
  const own = error.stack ?? String(error);
  return error.cause === undefined ? own : `${own}\ncaused by: ${stackOf(error.cause)}`;
}
