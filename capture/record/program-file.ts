/** What the kernel makes of a program's file: the ELF header (elf(5)), or the interpreter that a script names (execve(2)). */
import { closeSync, openSync, readSync } from 'node:fs';

export type ProgramFile =
  | {
      readonly kind: 'elf';
      readonly bits: 32 | 64;
      /** e_machine: 62 is x86-64, 183 is AArch64. */
      readonly machine: number;
      /** Dynamic linker that the kernel starts (PT_INTERP); null for none: statically linked. */
      readonly interpreter: string | null;
    }
  | { readonly kind: 'script'; readonly interpreter: string }
  /** Neither: what execvp(3) hands to /bin/sh, or what cannot be read. */
  | { readonly kind: 'other' };

/** The kernel reads as much of a script's first line. */
const SCRIPT_LINE_BYTES = 256;

/** Of a 64-bit program; one of 32 bits has 52, and more behind them. */
const ELF_HEADER_BYTES = 64;
const PT_INTERP = 3;
const MAX_PROGRAM_HEADERS = 256;
const MAX_INTERPRETER_BYTES = 4096;

/** Reads the beginning of a file. One that cannot be read is 'other': it may be executable all the same. */
export function readProgramFile(path: string): ProgramFile {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return { kind: 'other' };
  }
  try {
    const head = readAt(fd, 0, SCRIPT_LINE_BYTES);
    if (head.subarray(0, 4).toString('latin1') === '\x7fELF') {
      return head.length < ELF_HEADER_BYTES ? { kind: 'other' } : readElf(fd, head);
    }
    const interpreter = /^#![ \t]*([^ \t\n\0]+)/.exec(head.toString('utf8'))?.[1];
    return interpreter === undefined ? { kind: 'other' } : { kind: 'script', interpreter };
  } catch {
    return { kind: 'other' };
  } finally {
    closeSync(fd);
  }
}

function readElf(fd: number, head: Buffer): ProgramFile {
  const is64 = head[4] === 2;
  const isLittle = head[5] !== 2;
  const u16 = (buffer: Buffer, at: number): number => (isLittle ? buffer.readUInt16LE(at) : buffer.readUInt16BE(at));
  const u32 = (buffer: Buffer, at: number): number => (isLittle ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at));
  const word = (buffer: Buffer, at: number): number => {
    if (!is64) return u32(buffer, at);
    return Number(isLittle ? buffer.readBigUInt64LE(at) : buffer.readBigUInt64BE(at));
  };
  const tableOffset = word(head, is64 ? 32 : 28);
  const entryBytes = u16(head, is64 ? 54 : 42);
  const entries = Math.min(u16(head, is64 ? 56 : 44), MAX_PROGRAM_HEADERS);
  const table = readAt(fd, tableOffset, entryBytes * entries);
  let interpreter: string | null = null;
  for (let at = 0; at + entryBytes <= table.length && entryBytes > 0; at += entryBytes) {
    if (u32(table, at) !== PT_INTERP) continue;
    const bytes = Math.min(word(table, at + (is64 ? 32 : 16)), MAX_INTERPRETER_BYTES);
    interpreter = readAt(fd, word(table, at + (is64 ? 8 : 4)), bytes)
      .toString('utf8')
      .replace(/\0.*$/s, '');
    break;
  }
  return { kind: 'elf', bits: is64 ? 64 : 32, machine: u16(head, 18), interpreter };
}

/** As many of the bytes as the file has. */
function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(fd, bytes, 0, length, position));
}
