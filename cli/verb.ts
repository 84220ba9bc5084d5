import type { Command } from 'commander';
import type { Io, StopSignal } from './io.ts';
import type { Output } from './output.ts';
import type { Style } from './style.ts';

/** Options that every verb takes; `program.ts` adds them. */
export interface GlobalOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly debug: boolean;
}

/** What a verb runs with. */
export interface VerbContext {
  /** The whole command line, without the program's name: traces say how they came about. */
  readonly argv: readonly string[];
  readonly io: Io;
  readonly output: Output;
  readonly style: Style;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Aborted, with a CvmtraceError INTERRUPTED as its reason, when the user interrupts. A verb that takes long hands it on or looks at it. */
  readonly signal: AbortSignal;
  /** From now on stop signals are the verb's alone: `signal` is not aborted, and a second one does not end the program. Returns how to stop listening. */
  readonly takeSignals: (listener: (signal: StopSignal) => void) => () => void;
}

/** A command line to try, and what it does. */
export type Example = readonly [commandLine: string, what: string];

/** `Options` is what `declare` makes commander return, with camelCase names. */
export interface VerbDefinition<Options extends object> {
  readonly name: string;
  /** One line, lower case, no full stop: the list of verbs shows it. */
  readonly summary: string;
  /** Paragraphs for the verb's --help, after the summary. */
  readonly details?: string;
  readonly examples: readonly Example[];
  /** Declares arguments and options; each needs a help text. */
  readonly declare: (command: Command) => void;
  /** Does it, and returns the exit status: normally `ExitStatus.done`. */
  readonly run: (context: VerbContext, positionals: readonly string[], options: Options) => Promise<number>;
}

/** A verb, or a group of them such as `bench`, ready to be added to the program. */
export interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly details: string | undefined;
  readonly examples: readonly Example[];
  /** Members of a group; empty for a verb. */
  readonly members: readonly Verb[];
  readonly declare: (command: Command) => void;
  readonly run: (context: VerbContext, command: Command) => Promise<number>;
}

/** Makes a verb; its options are typed by the type argument. */
export function defineVerb<Options extends object>(definition: VerbDefinition<Options>): Verb {
  return {
    name: definition.name,
    summary: definition.summary,
    details: definition.details,
    examples: definition.examples,
    members: [],
    declare: definition.declare,
    run: (context, command) => definition.run(context, command.args, command.opts<Options>()),
  };
}

/** Makes a group of verbs, run as `cvmtrace GROUP VERB`. */
export function defineGroup(definition: Pick<Verb, 'name' | 'summary' | 'members'>): Verb {
  return {
    ...definition,
    details: undefined,
    examples: [],
    declare: () => undefined,
    run: () => Promise.reject(new Error(`${definition.name} is a group of verbs and does not run`)),
  };
}
