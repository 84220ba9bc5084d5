import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { CvmtraceError } from '../native/index.ts';
import { ExitStatus } from './exit-status.ts';
import { buildProgram, forEachCommand, main, packageVersion } from './program.ts';
import { runCli } from './testing/run-cli.ts';
import { defineGroup, defineVerb, type Verb, type VerbContext } from './verb.ts';
import { VERBS } from './verbs/index.ts';

/** A verb that does what the test says. */
function verbDoing(run: (context: VerbContext) => Promise<number>, name = 'try'): Verb {
  return defineVerb({ name, summary: 'try something', examples: [], declare: () => undefined, run });
}

describe('parsing', () => {
  const group = defineGroup({
    name: 'bench',
    summary: 'a group',
    members: [verbDoing(() => Promise.resolve(0), 'list'), verbDoing(() => Promise.resolve(1), 'run')],
  });
  const option = defineVerb<{ size?: string }>({
    name: 'info',
    summary: 'a verb',
    examples: [],
    declare: (command) => command.argument('<trace...>', 'traces').option('--format <format>', 'format'),
    run: () => Promise.resolve(0),
  });
  const verbs = [group, option];

  test.each([
    [[], 'cvmtrace: no verb given', 'hint: see: cvmtrace --help, or begin with: cvmtrace quickstart'],
    [['inof'], "cvmtrace: unknown verb 'inof'", 'hint: did you mean info?'],
    [['xyzzy'], "cvmtrace: unknown verb 'xyzzy'", 'hint: see: cvmtrace --help'],
    [['--json'], "cvmtrace: unknown option '--json'", 'hint: see: cvmtrace --help'],
    [['info'], "cvmtrace info: missing required argument 'trace'", 'hint: see: cvmtrace info --help'],
    [['info', 'a', '--fromat=x'], "cvmtrace info: unknown option '--fromat=x'", 'hint: did you mean --format?'],
    [['info', 'a', '--fromat'], "cvmtrace info: unknown option '--fromat'", 'hint: did you mean --format?'],
    [
      ['info', '--format'],
      "cvmtrace info: option '--format <format>' argument missing",
      'hint: see: cvmtrace info --help',
    ],
    [['bench', 'rum'], "cvmtrace bench: unknown verb 'rum'", 'hint: did you mean run?'],
    [
      ['bench', 'run', 'x'],
      "cvmtrace bench run: too many arguments for 'run'. Expected 0 arguments but got 1.",
      'hint: see: cvmtrace bench run --help',
    ],
  ])('%j is a usage error', async (argv, message, hint) => {
    const run = await runCli(argv, { verbs });
    expect(run).toMatchObject({ status: ExitStatus.usage, stdout: '', stderr: `${message}\n${hint}\n` });
  });

  test('a member of a group runs and returns its status', async () => {
    expect((await runCli(['bench', 'run'], { verbs })).status).toBe(1);
  });

  test('--version prints the package version', async () => {
    expect(await runCli(['--version'])).toMatchObject({ status: 0, stdout: `${packageVersion()}\n`, stderr: '' });
  });

  test('help goes to stdout', async () => {
    const run = await runCli(['info', '--help'], { verbs });
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(run.stdout).toContain('--no-color');
  });
});

describe('errors', () => {
  const failing = (error: Error) => [verbDoing(() => Promise.reject(error))];

  test.each([
    ['USAGE', 2],
    ['BAD_INPUT', 65],
    ['NO_INPUT', 66],
    ['UNAVAILABLE', 69],
    ['IO', 74],
    ['INTERRUPTED', 130],
  ] as const)('%s exits with %i, one line and one hint', async (code, status) => {
    const run = await runCli(['try'], { verbs: failing(new CvmtraceError(code, 'it\nfailed \u001b[31m')) });
    expect(run).toMatchObject({ status, stdout: '' });
    expect(run.stderr).toMatch(/^cvmtrace try: it failed \\x1b\[31m\nhint: .+\n$/);
  });

  test('the file and line are named once', async () => {
    const error = new CvmtraceError('BAD_INPUT', 'not a trace', { path: 'a.arrow', line: 3, hint: 'do this' });
    const run = await runCli(['try'], { verbs: failing(error) });
    expect(run.stderr).toBe('cvmtrace try: a.arrow:3: not a trace\nhint: do this\n');
  });

  test('--debug adds the stack and its causes', async () => {
    const error = new CvmtraceError('IO', 'outer', { cause: new Error('inner') });
    const run = await runCli(['try', '--debug'], { verbs: failing(error) });
    expect(run.stderr).toMatch(/\n {4}at .*\ncaused by: Error: inner\n/s);
  });

  test('anything else is a bug and shows its stack', async () => {
    const run = await runCli(['try'], { verbs: failing(new TypeError('undefined is not a function')) });
    expect(run.status).toBe(ExitStatus.bug);
    expect(run.stderr).toMatch(
      /^cvmtrace try: unexpected error, this is a bug: undefined .*\nhint: report .*\nTypeError: .*\n {4}at /,
    );
  });

  test('an error of the system is no bug', async () => {
    const error = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    });
    expect(await runCli(['try'], { verbs: failing(error) })).toMatchObject({ status: ExitStatus.io });
  });
});

describe('streams', () => {
  test('--json is one document with the warnings inside, bigints as strings', async () => {
    const verb = verbDoing(async ({ output }) => {
      output.warn('beware');
      await output.result({ bytes: 2n ** 60n, rows: 3 }, () => 'never');
      return 0;
    });
    const run = await runCli(['try', '--json'], { verbs: [verb] });
    expect(JSON.parse(run.stdout)).toEqual({
      schema: 'cvmtrace.try/1',
      bytes: '1152921504606846976',
      rows: 3,
      warnings: ['beware'],
    });
    expect(run.stderr).toBe('cvmtrace try: warning: beware\n');
  });

  test('--quiet silences notes and warnings, not the result', async () => {
    const verb = verbDoing(async ({ output }) => {
      output.warn('beware');
      output.note('wrote it');
      await output.result({}, () => 'the result');
      return 0;
    });
    expect(await runCli(['try', '-q'], { verbs: [verb] })).toMatchObject({ stdout: 'the result\n', stderr: '' });
  });

  test.each([
    [['try'], {}, true],
    [['try', '--no-color'], {}, false],
    [['try'], { NO_COLOR: '1' }, false],
    [['try'], { NO_COLOR: '' }, true],
    [['try'], { TERM: 'dumb' }, false],
  ])('%j with %j on a terminal is coloured: %s', async (argv, env, coloured) => {
    const verb = verbDoing(async ({ output, style }) => {
      await output.result({}, () => style.heading('x'));
      return 0;
    });
    const run = await runCli(argv, { verbs: [verb], env, terminalColumns: 80 });
    expect(run.stdout.includes('\u001b[')).toBe(coloured);
    expect((await runCli(argv, { verbs: [verb], env })).stdout).toBe('x\n');
  });

  test.each([
    ['EPIPE', ExitStatus.done],
    ['ENOSPC', ExitStatus.io],
  ])('stdout that fails with %s ends the verb with %i', async (code, status) => {
    const stdout = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code, syscall: 'write' })),
    });
    let stderr = '';
    const verb = verbDoing(async ({ output }) => {
      for (;;) await output.write('x');
    });
    const io = {
      stdin: process.stdin,
      stdout,
      stderr: new Writable({
        write(chunk: Buffer, _encoding, done) {
          stderr += chunk.toString();
          done();
        },
      }),
      env: {},
      onStopSignal: () => () => undefined,
      exitNow: () => undefined,
    };
    expect(await main(['try'], io, [verb])).toBe(status);
    expect(stderr === '').toBe(status === ExitStatus.done);
  });
});

describe('interrupts', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s aborts the verb, which ends with %i', async (signal, status) => {
    const verb = verbDoing(
      (context) =>
        new Promise((_resolve, reject) => {
          context.signal.addEventListener('abort', () => reject(context.signal.reason as Error));
          send(signal);
        }),
    );
    let send: (signal: 'SIGINT' | 'SIGTERM') => void = () => undefined;
    const run = await runCli(['try'], { verbs: [verb], onStart: (given) => (send = given) });
    expect(run).toMatchObject({
      status,
      stdout: '',
      stderr: expect.stringContaining(`interrupted by ${signal}\nhint: `) as string,
    });
  });

  test('the second exits at once', async () => {
    const exits: number[] = [];
    let send: (signal: 'SIGINT') => void = () => undefined;
    const verb = verbDoing(() => {
      send('SIGINT');
      send('SIGINT');
      return Promise.resolve(0);
    });
    await runCli(['try'], {
      verbs: [verb],
      onStart: (given) => (send = given),
      onExitNow: (status) => exits.push(status),
    });
    expect(exits).toEqual([130]);
  });
});

test('every verb has a summary, and every argument and option a help text', () => {
  const silent: string[] = [];
  forEachCommand(
    buildProgram(VERBS, () => Promise.resolve()),
    (command) => {
      if (command.description() === '') silent.push(command.name());
      for (const argument of command.registeredArguments) {
        if (argument.description === '') silent.push(`${command.name()} <${argument.name()}>`);
      }
      for (const option of command.options)
        if (option.description === '') silent.push(`${command.name()} ${option.flags}`);
    },
  );
  expect(silent).toEqual([]);
});

test('every verb has an example that is a command line of its own', () => {
  const verbsOf = (verbs: readonly Verb[], prefix: string): [string, Verb][] =>
    verbs.flatMap((verb) =>
      verb.members.length > 0
        ? verbsOf(verb.members, `${prefix}${verb.name} `)
        : [[`${prefix}${verb.name}`, verb] as [string, Verb]],
    );
  for (const [path, verb] of verbsOf(VERBS, 'cvmtrace ')) {
    expect(verb.examples.length, path).toBeGreaterThan(0);
    expect(
      verb.examples.some(([line]) => line.startsWith(path)),
      path,
    ).toBe(true);
  }
});
