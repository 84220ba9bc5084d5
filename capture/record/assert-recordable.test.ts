import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CvmtraceError } from '../../native/index.ts';
import { assertRecordable } from './assert-recordable.ts';
import { readProgramFile } from './program-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const OWN_MACHINE = process.arch === 'arm64' ? 183 : 62;

/** The header of an ELF program, with a PT_INTERP segment if it has an interpreter. */
function elf({
  bits = 64,
  machine = OWN_MACHINE,
  interpreter,
}: {
  bits?: 32 | 64;
  machine?: number;
  interpreter?: string;
}) {
  const is64 = bits === 64;
  const bytes = Buffer.alloc(512);
  bytes.write('\x7fELF', 'latin1');
  bytes.set([is64 ? 2 : 1, 1, 1], 4);
  bytes.writeUInt16LE(machine, 18);
  const table = is64 ? 64 : 52;
  const entry = is64 ? 56 : 32;
  if (is64) bytes.writeBigUInt64LE(BigInt(table), 32);
  else bytes.writeUInt32LE(table, 28);
  bytes.writeUInt16LE(entry, is64 ? 54 : 42);
  bytes.writeUInt16LE(2, is64 ? 56 : 44);
  // PT_LOAD, then PT_INTERP or PT_NULL.
  bytes.writeUInt32LE(1, table);
  if (interpreter === undefined) return bytes;
  const at = table + entry;
  bytes.writeUInt32LE(3, at);
  if (is64) {
    bytes.writeBigUInt64LE(300n, at + 8);
    bytes.writeBigUInt64LE(BigInt(interpreter.length + 1), at + 32);
  } else {
    bytes.writeUInt32LE(300, at + 4);
    bytes.writeUInt32LE(interpreter.length + 1, at + 16);
  }
  bytes.write(interpreter, 300);
  return bytes;
}

function file(name: string, bytes: Buffer | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
  return path;
}

const GLIBC = '/lib64/ld-linux-x86-64.so.2';
const plain = { secureExecution: () => '' as const };

function refusal(path: string, native: Parameters<typeof assertRecordable>[0] = plain): string {
  try {
    assertRecordable(native, path);
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(CvmtraceError);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', hint: expect.stringContaining('strace -f') as string });
    return error instanceof Error ? error.message : '';
  }
}

describe('readProgramFile', () => {
  test('reads ELF headers of both widths, and the interpreter of a script', () => {
    expect(readProgramFile(file('a', elf({ interpreter: GLIBC })))).toEqual({
      kind: 'elf',
      bits: 64,
      machine: OWN_MACHINE,
      interpreter: GLIBC,
    });
    expect(readProgramFile(file('b', elf({ bits: 32, machine: 3, interpreter: '/lib/ld' })))).toEqual({
      kind: 'elf',
      bits: 32,
      machine: 3,
      interpreter: '/lib/ld',
    });
    expect(readProgramFile(file('c', elf({})))).toMatchObject({ interpreter: null });
    expect(readProgramFile(file('d', '#! /bin/sh -e\nexit'))).toEqual({ kind: 'script', interpreter: '/bin/sh' });
  });

  test('takes what is cut short, empty or not there for something else', () => {
    const whole = elf({ interpreter: GLIBC });
    for (let length = 0; length < 64; length++)
      expect(readProgramFile(file('cut', whole.subarray(0, length))).kind).toBe('other');
    expect(readProgramFile(file('text', 'echo'))).toEqual({ kind: 'other' });
    expect(readProgramFile(join(folder, 'nothing'))).toEqual({ kind: 'other' });
  });
});

describe('assertRecordable', () => {
  test('lets dynamic programs pass, their scripts, the loader itself, and what only execvp understands', () => {
    const dynamic = file('dynamic', elf({ interpreter: GLIBC }));
    expect(refusal(dynamic)).toBe('');
    expect(refusal(file('script', `#!${dynamic} -x\n`))).toBe('');
    expect(refusal(file('ld-linux-x86-64.so.2', elf({})))).toBe('');
    expect(refusal(file('text', 'echo'))).toBe('');
    expect(refusal(process.execPath)).toBe('');
  });

  test('refuses static programs, also as the interpreter of a script', () => {
    const fixed = file('static', elf({}));
    expect(refusal(fixed)).toBe(`${fixed} cannot be recorded: it is statically linked`);
    const script = file('script', `#!${fixed}\n`);
    expect(refusal(script)).toBe(`${fixed}, which runs ${script}, cannot be recorded: it is statically linked`);
  });

  test('refuses other machines and C libraries', () => {
    expect(refusal(file('x86', elf({ bits: 32, machine: 3, interpreter: '/lib/ld-linux.so.2' })))).toContain(
      'another machine',
    );
    expect(refusal(file('riscv', elf({ machine: 243, interpreter: '/lib/ld-linux-riscv64.so.1' })))).toContain(
      'another machine',
    );
    expect(refusal(file('musl', elf({ interpreter: '/lib/ld-musl-x86_64.so.1' })))).toContain('linked with musl');
  });

  test('refuses what runs in secure-execution mode', () => {
    const dynamic = file('dynamic', elf({ interpreter: GLIBC }));
    expect(refusal(dynamic, { secureExecution: () => 'setuid' })).toContain('it is setuid, so that the dynamic linker');
    expect(refusal(dynamic, { secureExecution: () => 'capabilities' })).toContain('it has file capabilities');
  });

  test('gives up on scripts that name one another', () => {
    const loop = join(folder, 'loop');
    expect(refusal(file('loop', `#!${loop}\n`))).toBe('');
  });
});
