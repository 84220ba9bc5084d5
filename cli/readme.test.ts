/**
 * README.md is run: its commands must work, and what it shows of their output must have the headings that they print today. Its tables are those that
 * the code generates. With CVMTRACE_UPDATE_GOLDEN set, all of it is written anew from a run on this machine.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { questionTable } from '../analyze/db/markdown.ts';
import { scenarioTable } from '../bench/scenarios/markdown.ts';
import { strategyTables } from '../bench/strategies/markdown.ts';
import { formatTable } from '../capture/import/markdown.ts';
import { workloadTable } from '../capture/workloads/markdown.ts';
import { PACKAGE_ROOT } from '../native/index.ts';

const run = promisify(execFile);
const README = join(PACKAGE_ROOT, 'README.md');
const UPDATE = Boolean(process.env['CVMTRACE_UPDATE_GOLDEN']);
const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-readme-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A command that the README shows, and the output that it shows below it. */
interface Shown {
  readonly command: string;
  readonly output: string;
}

function section(name: string): string {
  const [, body] = new RegExp(`<!-- ${name} -->\n([^]*?)<!-- /${name} -->`).exec(readFileSync(README, 'utf8')) ?? [];
  if (body === undefined) throw new Error(`README.md has no section ${name}`);
  return body.trim();
}

function rewrite(name: string, body: string): void {
  const text = readFileSync(README, 'utf8');
  const [before = '', rest = ''] = text.split(`<!-- ${name} -->\n`);
  const after = rest.slice(rest.indexOf(`<!-- /${name} -->`));
  writeFileSync(README, `${before}<!-- ${name} -->\n${body}\n${after}`);
}

function shownCommands(body: string): Shown[] {
  return [...body.matchAll(/```console\n([^]*?)```/g)].flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const end = part.indexOf('\n');
        return { command: part.slice(0, end), output: part.slice(end + 1).trimEnd() };
      }),
  );
}

/** Runs a command as a reader would; `npx cvmtrace` and `npm start` are what is built in dist/. */
async function execute(command: string): Promise<string> {
  const cli = `'${process.execPath}' '${join(PACKAGE_ROOT, 'dist/cli/main.js')}'`;
  const line = command.replaceAll('npx cvmtrace', cli).replace('npm ci && npm start', `${cli} quickstart`);
  const { stdout } = await run('bash', ['-c', line], { cwd: folder, env: { ...process.env, NO_COLOR: '1' } });
  return stdout.trimEnd();
}

/** Lines that do not depend on what was measured: headings and heads of tables. */
function headings(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => /^[A-Z][A-Z ,%()]+$/.test(line.replace(/ {2,}/g, ' ').trim()) || /^\d\. /.test(line));
}

function normalised(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line
      .replace(/\d+/g, '#')
      .replace(/ +/g, ' ')
      .replace(/, as it ran on .*/, ''),
  );
}

async function checkShown(name: string): Promise<void> {
  const blocks: string[] = [];
  for (const { command, output } of shownCommands(section(name))) {
    const printed = await execute(command);
    blocks.push(`\`\`\`console\n$ ${command}\n${printed}\n\`\`\``);
    if (!UPDATE) expect(normalised(headings(printed)), command).toEqual(normalised(headings(output)));
  }
  expect(blocks.length).toBeGreaterThan(0);
  if (UPDATE) rewrite(name, blocks.join('\n\n'));
}

describe('README.md', () => {
  it.each([
    ['workloads', workloadTable],
    ['strategies', strategyTables],
    ['scenarios', scenarioTable],
    ['formats', formatTable],
    ['questions', questionTable],
  ])('has the table of %s that the code has', (name, table) => {
    if (UPDATE) rewrite(name, table());
    expect(section(name)).toBe(table());
  });

  it('shows the main job as it runs', { timeout: 120_000 }, () => checkShown('quickstart'));

  it('has examples that work, in their order', { timeout: 60_000 }, () => checkShown('examples'));
});
