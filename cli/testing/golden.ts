import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { PACKAGE_ROOT } from '../../native/index.ts';
import type { CliRun } from './run-cli.ts';

const FOLDER = join(PACKAGE_ROOT, 'cli', 'testdata');

/**
 * Compares both streams of a run with `cli/testdata/NAME.stdout` and `.stderr`; a file that is not there stands for an empty stream. What was
 * got instead is left beside it as `.got`. With CVMTRACE_UPDATE_GOLDEN set, the files are written.
 * @param normalise takes out what differs from run to run, such as the temporary folder
 */
export function expectGolden(name: string, run: CliRun, normalise: (text: string) => string = (text) => text): void {
  for (const stream of ['stdout', 'stderr'] as const) {
    const file = join(FOLDER, `${name}.${stream}`);
    const text = normalise(run[stream]);
    if (process.env['CVMTRACE_UPDATE_GOLDEN']) {
      if (text === '') rmSync(file, { force: true });
      else writeFileSync(file, text);
    }
    const golden = existsSync(file) ? readFileSync(file, 'utf8') : '';
    const got = `${file}.got`;
    if (text === golden) rmSync(got, { force: true });
    else writeFileSync(got, text);
    expect(text, `${stream} differs from ${file}`).toBe(golden);
  }
}
