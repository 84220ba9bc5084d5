import { existsSync, statSync } from 'node:fs';
import { mkdir, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Analysis } from '../analyze/index.ts';
import { METADATA_KEY } from '../capture/trace/index.ts';
import { CvmtraceError } from '../native/index.ts';
import { hivePath } from './hive-path.ts';
import { makeOutputFile, type OutputFileOptions } from './output-file.ts';
import { startProgress } from './progress.ts';
import { traceQuery } from './trace-query.ts';
import type { VerbContext } from './verb.ts';

export interface ExportedFile {
  /** The trace that it was made from. */
  readonly trace: string;
  readonly path: string;
  readonly rows: number;
  readonly sizeBytes: number;
}

/**
 * Writes each trace to `dir`/host=H/kernel=K/NAME.parquet, all with the same columns. What is there already is added to; nothing is begun if one of the files is there or two
 * traces would have one name. Each file is whole or not there.
 * @throws CvmtraceError IO if a file is there and `force` is not set, or cannot be written; USAGE if two traces have one name.
 */
export async function exportPartitioned(
  context: Pick<VerbContext, 'io' | 'quiet' | 'signal'>,
  analysis: Analysis,
  dir: string,
  options: OutputFileOptions,
): Promise<readonly ExportedFile[]> {
  const targets = analysis.traces.map((trace) => {
    const folders = hivePath(trace.metadata);
    const name = `${basename(trace.path)
      .replace(/\.partial$/, '')
      .replace(/\.(arrow|parquet)$/, '')}.parquet`;
    return { trace, folders, path: join(dir, folders, name) };
  });
  refuseTaken(targets, options);
  const progress = startProgress(context, targets.length, 'traces');
  const made: string[] = [];
  const files: ExportedFile[] = [];
  try {
    for (const [i, { trace, folders, path }] of targets.entries()) {
      context.signal.throwIfAborted();
      progress.update(i, basename(trace.path));
      await makeFolders(dir, folders, made);
      const query = await traceQuery(analysis, i, { everyColumn: true });
      const metadata = { [METADATA_KEY]: JSON.stringify(trace.metadata) };
      await makeOutputFile(path, options, (temporary) => analysis.copyTo(query, 'parquet', temporary, { metadata }));
      files.push({ trace: trace.path, path, rows: trace.rows, sizeBytes: statSync(path).size });
    }
    return files;
  } finally {
    progress.stop();
    // Folders in which nothing came to be; the others refuse to go.
    for (const folder of made.reverse()) await rmdir(folder).catch(() => undefined);
  }
}

function refuseTaken(
  targets: readonly { readonly trace: { readonly path: string }; readonly path: string }[],
  { force }: OutputFileOptions,
): void {
  const sources = new Map<string, string>();
  for (const { trace, path } of targets) {
    const other = sources.get(path);
    if (other !== undefined) {
      throw new CvmtraceError('USAGE', `${other} and ${trace.path} would both be ${path}`, {
        hint: 'give one of them another name, or export them to two folders',
      });
    }
    sources.set(path, trace.path);
    if (existsSync(path) && !force) {
      throw new CvmtraceError('IO', `${path} exists`, {
        path,
        hint: 'overwrite it with --force, or choose another folder',
      });
    }
  }
}

/** Makes `dir` and the folders in it, those that are not there; `made` gets their names. Not recursive: see claimOutputFolder. */
async function makeFolders(dir: string, folders: string, made: string[]): Promise<void> {
  let folder = '';
  for (const part of [dir, ...folders.split('/')]) {
    folder = folder === '' ? part : join(folder, part);
    try {
      await mkdir(folder);
      made.push(folder);
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
      if (code === 'EEXIST' && statSync(folder).isDirectory()) continue;
      throw new CvmtraceError('IO', `cannot make the folder ${folder}: ${String(code)}`, {
        path: folder,
        hint: code === 'ENOENT' ? 'make the folder above it first' : 'name a folder that can be made',
        cause,
      });
    }
  }
}
