import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { SQL_DIR } from '../db/views.ts';

let key: string | undefined;

/**
 * Hash of all that decides what is made of a trace: this program's own code, the SQL library, and the versions of what it depends on. Nobody has to
 * remember to raise a number.
 */
export function toolKey(): string {
  return (key ??= computeKey());
}

function computeKey(): string {
  const hash = createHash('sha256');
  const files = [join(PACKAGE_ROOT, 'package.json'), ...filesBelow(SQL_DIR, /\.sql$/), ...codeFiles()];
  for (const file of files) hash.update(basename(file)).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

/** Built, the command line is one file. */
function codeFiles(): string[] {
  const own = import.meta.filename;
  const analyze = dirname(dirname(own));
  if (basename(analyze) !== 'analyze') return [own];
  const code = /(?<!\.test)\.[jt]s$/;
  return ['analyze', 'capture/trace', 'native'].flatMap((folder) => {
    const path = join(dirname(analyze), folder);
    return folder === 'native'
      ? readdirSync(path)
          .filter((name) => code.test(name))
          .map((name) => join(path, name))
      : filesBelow(path, code);
  });
}

function filesBelow(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
