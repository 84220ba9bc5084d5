import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { MAX_NAME_CHARACTERS, PhaseLines, readPhases } from './phase-lines.ts';

function phasesOf(output: string, pattern: RegExp, chunkBytes = Infinity): string[] {
  const names: string[] = [];
  const lines = new PhaseLines(pattern, (name) => names.push(name));
  const bytes = Buffer.from(output);
  for (let at = 0; at < bytes.length; at += chunkBytes) lines.push(bytes.subarray(at, at + chunkBytes));
  lines.end();
  return names;
}

test('a phase is named by the group `name`, else the first group, else the line', () => {
  const output = 'noise\nphase: one (1)\nphase: two (2)\n';
  expect(phasesOf(output, /phase: (?:\w+) \((?<name>\d)\)/u)).toEqual(['1', '2']);
  expect(phasesOf(output, /phase: (\w+)/u)).toEqual(['one', 'two']);
  expect(phasesOf(output, /^phase/u)).toEqual(['phase: one (1)', 'phase: two (2)']);
});

test('however the output is cut', () => {
  const output = 'Überschrift\r\nphase ä\r\nphase \u{1f600}\nphase last';
  for (const chunk of [1, 2, 3, 7, 1000])
    expect(phasesOf(output, /^phase (.*)$/u, chunk)).toEqual(['ä', '\u{1f600}', 'last']);
});

test('lines without end and names without length take bounded memory', () => {
  expect(phasesOf(`${'x'.repeat(200_000)}phase\nphase ok\n`, /phase ?(.*)/u)).toEqual(['ok']);
  expect(phasesOf('y'.repeat(5000), /y+/u)[0]).toHaveLength(MAX_NAME_CHARACTERS);
  expect(phasesOf('a\n\nb\n', /^ *$/u)).toEqual([]);
});

test('output is handed on as it is, until it ends', async () => {
  const stdout = new PassThrough();
  const got: Buffer[] = [];
  const names: string[] = [];
  const write = (bytes: Buffer): Promise<void> => {
    got.push(bytes);
    return Promise.resolve();
  };
  const reader = readPhases(stdout, /(p.)/u, write, (name) => names.push(name));
  stdout.write(Buffer.from([0xff, 0x0a, 0x70, 0x31]));
  stdout.end(Buffer.from('\np2'));
  await reader.untilQuiet();
  expect(Buffer.concat(got)).toEqual(Buffer.from([0xff, 0x0a, 0x70, 0x31, 0x0a, 0x70, 0x32]));
  expect(names).toEqual(['p1', 'p2']);
});

test('where nobody takes it, the program is to notice', async () => {
  const stdout = new PassThrough();
  const reader = readPhases(
    stdout,
    /x/u,
    () => Promise.reject(new Error('closed pipe')),
    () => undefined,
  );
  stdout.write('line\n');
  await reader.untilQuiet();
  expect(stdout.destroyed).toBe(true);
});

test('output that something else holds open is not waited for', async () => {
  const stdout = new PassThrough();
  const reader = readPhases(
    stdout,
    /x/u,
    () => Promise.resolve(),
    () => undefined,
  );
  await reader.untilQuiet();
  expect(stdout.destroyed).toBe(true);
});
