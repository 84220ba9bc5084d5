/**
 * cli/: the command line, and alone in the project to print, prompt and exit. One file per verb in `verbs/`, listed in `verbs/index.ts`;
 * this file parses, runs the verb, and turns what it throws into an exit status.
 *
 * stdout is the result only. Errors go to stderr as text, also with --json: a script looks at the exit status first.
 */
import { constants } from 'node:os';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, Help, type Option } from 'commander';
import { CvmtraceError, PACKAGE_ROOT } from '../native/index.ts';
import { ExitStatus } from './exit-status.ts';
import { describeFailure } from './failure.ts';
import type { Io } from './io.ts';
import { ClosedPipe, Output, writeTo } from './output.ts';
import { styleFor } from './style.ts';
import type { GlobalOptions, Verb, VerbContext } from './verb.ts';
import { VERBS } from './verbs/index.ts';

/**
 * Runs one command line.
 * @param argv without the interpreter and the script
 * @returns the exit status; never throws
 */
export async function main(argv: readonly string[], io: Io, verbs: readonly Verb[] = VERBS): Promise<number> {
  // A write's failure reaches whoever wrote, through its callback; without a listener the same error would also end the process.
  const ignore = () => undefined;
  io.stdout.on('error', ignore);
  io.stderr.on('error', ignore);

  const abort = new AbortController();
  let interruptStatus: number = ExitStatus.interrupted;
  let isTaken = false;
  const stopListening = io.onStopSignal((signal) => {
    interruptStatus = 128 + constants.signals[signal];
    if (isTaken) return;
    if (abort.signal.aborted) io.exitNow(interruptStatus);
    else abort.abort(new CvmtraceError('INTERRUPTED', `interrupted by ${signal}`));
  });

  let status: number = ExitStatus.done;
  let help = '';
  let current: Command | undefined;
  const program = buildProgram(verbs, async (verb, command) => {
    const { json, quiet, color } = command.opts<GlobalOptions & { color: boolean }>();
    const output = new Output(io, { verb: verbPath(command), json, quiet });
    const takeSignals: VerbContext['takeSignals'] = (listener) => {
      isTaken = true;
      return io.onStopSignal(listener);
    };
    status = await verb.run(
      { argv, io, output, style: styleFor(io, color), json, quiet, signal: abort.signal, takeSignals },
      command,
    );
  });
  forEachCommand(program, (command) => {
    command.configureOutput({
      writeOut: (text) => (help += text),
      writeErr: ignore,
      outputError: ignore,
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stdout.columns ?? 100,
      getOutHasColors: () => false,
    });
    command.exitOverride();
    command.hook('preSubcommand', (_parent, child) => void (current = child));
  });

  try {
    if (argv.length === 0) {
      throw new CvmtraceError('USAGE', 'no verb given', {
        hint: 'see: cvmtrace --help, or begin with: cvmtrace quickstart',
      });
    }
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    try {
      if (error instanceof ClosedPipe) return ExitStatus.done;
      if (error instanceof CommanderError && error.exitCode === 0) {
        await writeTo(io.stdout, help === '' ? `${error.message}\n` : help);
        return ExitStatus.done;
      }
      return await reportFailure(io, error, current, interruptStatus);
    } catch (writeError) {
      return writeError instanceof ClosedPipe ? ExitStatus.done : ExitStatus.io;
    }
  } finally {
    stopListening();
    io.stdout.off('error', ignore);
    io.stderr.off('error', ignore);
  }
}

async function reportFailure(
  io: Io,
  error: unknown,
  command: Command | undefined,
  interruptStatus: number,
): Promise<number> {
  const verb = command && verbPath(command);
  const failure = describeFailure(error, verb);
  const withStack = failure.unexpected === true || command?.opts<GlobalOptions>().debug === true;
  await writeTo(
    io.stderr,
    `cvmtrace${verb === undefined ? '' : ` ${verb}`}: ${failure.message}\n` +
      (failure.output ?? []).map((line) => `  ${line}\n`).join('') +
      `hint: ${failure.hint}\n` +
      (withStack ? `${failure.stack}\n` : ''),
  );
  return failure.status === ExitStatus.interrupted ? interruptStatus : failure.status;
}

/** The commander program of the verbs; `start` is called for the one that was asked for. */
export function buildProgram(verbs: readonly Verb[], start: (verb: Verb, command: Command) => Promise<void>): Command {
  const program = new Command('cvmtrace')
    .description('Record, analyse and replay the memory conversions and DMA mappings of confidential virtual machines.')
    .version(packageVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .usage('VERB [options]')
    .commandsGroup('Verbs:')
    .helpCommand('help [verb]', 'show the help of a verb')
    .configureHelp({ subcommandTerm: (command) => command.name(), optionDescription: describeOption })
    .showSuggestionAfterError(true)
    .addHelpText('after', HELP_FOOTER);
  for (const verb of verbs) addVerb(program, verb, start);
  return program;
}

function addVerb(parent: Command, verb: Verb, start: (verb: Verb, command: Command) => Promise<void>): void {
  const command = parent
    .command(verb.name)
    .summary(verb.summary)
    .description(
      `${verb.summary.charAt(0).toUpperCase()}${verb.summary.slice(1)}.${verb.details ? `\n\n${paragraphs(verb.details)}` : ''}`,
    );
  if (verb.members.length > 0) {
    for (const member of verb.members) addVerb(command, member, start);
    return;
  }
  verb.declare(command);
  command
    .optionsGroup('Options of every verb:')
    .option('--json', `print one JSON document; integers of 64 bits are strings`, false)
    .option('-q, --quiet', 'no progress, notes or warnings on stderr', false)
    .option('--debug', 'add the stack to an error', false)
    .option('--no-color', 'no colours; NO_COLOR=1 does the same')
    .helpOption('-h, --help', 'show this help')
    .action(() => start(verb, command));
  if (verb.examples.length > 0) {
    const lines = verb.examples.map(([commandLine, what]) => `  ${commandLine}\n      ${what}`);
    command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
  }
}

/** Commander's text, without saying of each switch that it is off. */
function describeOption(option: Option): string {
  return new Help().optionDescription(option).replace(' (default: false)', '');
}

/** Calls `visit` for the program and all its verbs, also those of groups. */
export function forEachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) forEachCommand(child, visit);
}

/** "bench run" for that command. */
function verbPath(command: Command): string {
  const names: string[] = [];
  for (let at = command; at.parent; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

/** Version of the package, e.g. "0.1.0". */
export function packageVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  if (typeof parsed === 'object' && parsed !== null && 'version' in parsed) return String(parsed.version);
  throw new Error('package.json has no version');
}

const HELP_FOOTER = `
Exit status:
  0 done    1 done, with a finding    2 usage    65 bad trace    66 input missing
  69 the host cannot    70 a bug, or a broken-down lab    74 I/O    130 interrupted

Begin with: cvmtrace quickstart`;

/** Text whose lines are as long as those of the sources, as paragraphs that the help wraps; lines that begin with blanks stay lines. */
function paragraphs(text: string): string {
  return text.replace(/([^\n])\n(?=[^\s])/g, '$1 ');
}
