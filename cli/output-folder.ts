import { mkdir, readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CvmtraceError } from '../native/index.ts';

/**
 * Makes the folder `path`, or takes it as it is if it is there.
 * @throws CvmtraceError IO if it cannot be made, or is there with something in it and `force` is not set.
 */
export async function claimOutputFolder(path: string, options: { readonly force: boolean }): Promise<void> {
  try {
    // Not recursive: below /proc, Node's recursive mkdir never comes back.
    await mkdir(path);
    return;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code !== 'EEXIST') {
      throw new CvmtraceError('IO', `cannot make the folder ${path}: ${String(code)}`, {
        path,
        hint:
          code === 'ENOENT'
            ? `make the folder above it first: mkdir -p ${dirname(path)}`
            : 'name a folder that can be made',
        cause,
      });
    }
  }
  const entries = await readdir(path).catch((cause: unknown) => {
    throw new CvmtraceError('IO', `${path} is not a folder`, { path, hint: 'choose another name', cause });
  });
  if (entries.length > 0 && !options.force) {
    throw new CvmtraceError('IO', `the folder ${path} is not empty`, {
      path,
      hint: 'choose another, or overwrite what is in it with --force',
    });
  }
}
