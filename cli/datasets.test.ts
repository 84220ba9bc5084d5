import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../native/index.ts';
import { runCli } from './testing/run-cli.ts';

const FOLDER = join(PACKAGE_ROOT, 'datasets');
const { datasets } = JSON.parse(readFileSync(join(FOLDER, 'manifest.json'), 'utf8')) as {
  readonly datasets: readonly { readonly file: string; readonly sha256: string }[];
};

describe('datasets', () => {
  it('are all in the manifest', () => {
    const traces = readdirSync(FOLDER).filter((name) => /\.(arrow|parquet)$/.test(name));
    expect(datasets.map(({ file }) => file).sort()).toEqual(traces.sort());
  });

  it.each(datasets)('$file is what was measured, sound, and readable by every report', async ({ file, sha256 }) => {
    const path = join(FOLDER, file);
    expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(sha256);
    for (const verb of ['verify', 'info', 'analyze']) expect((await runCli([verb, path])).status, verb).toBe(0);
  });
});
