import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeOutputFile, writeOutputFile } from './output-file.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const KEEP = { force: false };
const FORCE = { force: true };

test('the file has its name only when it is whole', async () => {
  const out = join(folder, 'out');
  await writeOutputFile(out, KEEP, async (sink) => {
    await sink.write('a');
    expect(existsSync(out)).toBe(false);
    await sink.write(new Uint8Array([98]));
  });
  expect(readFileSync(out, 'utf8')).toBe('ab');
  expect(readdirSync(folder)).toEqual(['out']);
});

test('a failure leaves nothing, and the old file as it was', async () => {
  const out = join(folder, 'out');
  writeFileSync(out, 'old');
  const failing = writeOutputFile(out, FORCE, async (sink) => {
    await sink.write('new');
    throw new Error('stop');
  });
  await expect(failing).rejects.toThrow('stop');
  expect(readFileSync(out, 'utf8')).toBe('old');
  expect(readdirSync(folder)).toEqual(['out']);
});

test('a file that exists is not touched without --force', async () => {
  const out = join(folder, 'out');
  writeFileSync(out, 'old');
  let called = false;
  const refused = writeOutputFile(out, KEEP, () => {
    called = true;
    return Promise.resolve();
  });
  await expect(refused).rejects.toMatchObject({ code: 'IO', message: `${out} exists` });
  expect(called).toBe(false);
  await writeOutputFile(out, FORCE, (sink) => sink.write('new'));
  expect(readFileSync(out, 'utf8')).toBe('new');
});

test('a file that appears meanwhile is not overwritten', async () => {
  const out = join(folder, 'out');
  const late = writeOutputFile(out, KEEP, async (sink) => {
    await sink.write('mine');
    writeFileSync(out, 'theirs');
  });
  await expect(late).rejects.toMatchObject({ code: 'IO', message: `${out} exists` });
  expect(readFileSync(out, 'utf8')).toBe('theirs');
  expect(readdirSync(folder)).toEqual(['out']);
});

test('a link stays a link', async () => {
  writeFileSync(join(folder, 'real'), 'old');
  symlinkSync('real', join(folder, 'link'));
  await writeOutputFile(join(folder, 'link'), FORCE, (sink) => sink.write('new'));
  expect(readFileSync(join(folder, 'real'), 'utf8')).toBe('new');
  symlinkSync('gone', join(folder, 'dangling'));
  await expect(writeOutputFile(join(folder, 'dangling'), FORCE, (sink) => sink.write('x'))).rejects.toThrow(
    'link to nothing',
  );
});

test.each([
  ['/dev/null', 'it is not a regular file'],
  ['/', 'it is a folder'],
  ['/nowhere/out', 'there is no folder /nowhere'],
])('%s cannot be an output file, even with --force', async (path, reason) => {
  await expect(makeOutputFile(path, FORCE, () => Promise.resolve())).rejects.toMatchObject({
    code: 'IO',
    message: `cannot write ${path}: ${reason}`,
  });
});

test("the system's refusal names the file that was asked for", async () => {
  const out = join(folder, 'x'.repeat(300));
  await expect(writeOutputFile(out, KEEP, (sink) => sink.write('a'))).rejects.toMatchObject({ code: 'IO', path: out });
});
