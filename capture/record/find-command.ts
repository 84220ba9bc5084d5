import { accessSync, constants, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** What a command's name stands for: a file to execute, or why a shell would not run it, with the exit status that it would have. */
export type FoundCommand = { readonly path: string } | { readonly status: 126 | 127; readonly reason: string };

/** What execvp(3) searches where PATH is not set. */
const DEFAULT_PATH = '/bin:/usr/bin';

/**
 * Finds a command as a shell does: a name with a slash is a path, another is looked for in PATH.
 * @param path the environment's PATH
 */
export function findCommand(name: string, path = DEFAULT_PATH): FoundCommand {
  if (name === '') return { status: 127, reason: 'the name of the command is empty' };
  if (name.includes('/')) return lookAt(resolve(name)) ?? { status: 127, reason: `there is no file ${name}` };
  let refused: FoundCommand | undefined;
  for (const folder of path.split(':')) {
    const found = lookAt(resolve(join(folder === '' ? '.' : folder, name)));
    if (found && 'path' in found) return found;
    refused ??= found;
  }
  return refused ?? { status: 127, reason: `${name} is not a file in PATH` };
}

/** Undefined if there is no such file. */
function lookAt(path: string): FoundCommand | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return undefined;
  if (!status.isFile())
    return { status: 126, reason: `${path} is ${status.isDirectory() ? 'a folder' : 'not a regular file'}` };
  try {
    accessSync(path, constants.X_OK);
    return { path };
  } catch {
    return { status: 126, reason: `${path} is not executable` };
  }
}
