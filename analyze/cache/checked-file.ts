/** Files of values that are whole or not there: written under another name, with their hash before them. */
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
// Values as they are, bigint among them, which JSON does not have.
import { deserialize, serialize } from 'node:v8';

const HASH_BYTES = 32;

export function writeChecked(path: string, value: unknown): void {
  const body = serialize(value);
  const temporary = `${path}.${randomUUID()}`;
  try {
    writeFileSync(temporary, Buffer.concat([hashOf(body), body]));
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Undefined if the file is not there, or not as it was written. */
export function readChecked(path: string): unknown {
  try {
    const file = readFileSync(path);
    const body = file.subarray(HASH_BYTES);
    return hashOf(body).equals(file.subarray(0, HASH_BYTES)) ? deserialize(body) : undefined;
  } catch {
    // Not there, not to be read, or of a newer Node.
    return undefined;
  }
}

function hashOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest();
}
