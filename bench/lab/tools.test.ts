import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { assertInstalled, BUILD_NEEDS, findProgram, missingPackages, RUN_NEEDS } from './tools.ts';

let folder: string;
let env: { readonly PATH: string };

/** Programs in two folders of the PATH; the text is theirs. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-tools-'));
  for (const name of ['a', 'b']) mkdirSync(join(folder, name));
  for (const [file, mode] of [
    ['a/make', 0o755],
    ['a/gcc', 0o644],
    ['b/gcc', 0o755],
    ['b/make', 0o755],
    ['b/bc', 0o644],
  ] as const) {
    writeFileSync(join(folder, file), '#!/bin/sh\n');
    chmodSync(join(folder, file), mode);
  }
  mkdirSync(join(folder, 'a/flex'));
  env = { PATH: `${folder}/none:${folder}/a:${folder}/b` };
});
afterAll(() => rmSync(folder, { recursive: true }));

it('a program is the first on the PATH that can be executed', () => {
  expect(findProgram('make', env)).toBe(join(folder, 'a/make'));
  expect(findProgram('gcc', env)).toBe(join(folder, 'b/gcc'));
  expect(findProgram('bc', env)).toBeUndefined();
  expect(findProgram('flex', env)).toBeUndefined();
  expect(findProgram('make', {})).toBeUndefined();
});

it('what is missing is named by its package, once', () => {
  const tools = BUILD_NEEDS.filter(({ file }) => !file.startsWith('/'));
  expect(missingPackages(tools, env)).toEqual(['binutils', 'flex', 'bison', 'bc', 'perl', 'tar', 'xz-utils']);
  expect(missingPackages(RUN_NEEDS, env)).toEqual(['qemu-system-x86']);
  const header = { file: join(folder, 'a/header.h'), package: 'header-dev' };
  expect(missingPackages([header, { ...header, file: join(folder, 'b/header.h') }], env)).toEqual(['header-dev']);
  writeFileSync(header.file, '');
  expect(missingPackages([header], env)).toEqual([]);
});

it('is refused with the line that installs it', () => {
  expect(() => assertInstalled([], 'the lab')).not.toThrow();
  expect(() => assertInstalled(['flex', 'bc'], 'the lab')).toThrow(
    expect.objectContaining({
      code: 'UNAVAILABLE',
      message: 'the lab needs what is not installed here: flex, bc',
      hint: 'as root: apt-get install --no-install-recommends flex bc',
    }),
  );
});
