/** Where recordings can be found: a folder of the user's own with a socket per recording, named after the process that records. */
import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Names the socket of the recording that a program runs in. */
export const CONTROL_VARIABLE = 'CVMTRACE_CONTROL';

/** A socket's path may have 107 bytes (unix(7)): those of the longest "/PID.sock" are left. */
const MAX_FOLDER_BYTES = 92;

/** The folders that a recording may use, the preferred one first: $XDG_RUNTIME_DIR/cvmtrace, $TMPDIR/cvmtrace-UID, where a socket's path fits. */
export function controlFolders(env: Environment): readonly string[] {
  const own = `cvmtrace-${process.getuid?.() ?? 0}`;
  const temporary = usable(join(env['TMPDIR'] ?? '/tmp', own)) ?? join('/tmp', own);
  const runtime = env['XDG_RUNTIME_DIR'] === undefined ? undefined : usable(join(env['XDG_RUNTIME_DIR'], 'cvmtrace'));
  return runtime === undefined ? [temporary] : [runtime, temporary];
}

function usable(folder: string): string | undefined {
  return folder.startsWith('/') && Buffer.byteLength(folder) <= MAX_FOLDER_BYTES ? folder : undefined;
}

/** The first of the folders that can be made or is the user's own and nobody else's; undefined if none is. */
export function makeControlFolder(env: Environment): string | undefined {
  return controlFolders(env).find((folder) => {
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch {
      // It is there, or it cannot be made: the next look tells.
    }
    return isOwn(folder);
  });
}

/** Processes that record, by the sockets in the folders; some may have died. */
export function controlSockets(env: Environment): readonly { readonly pid: number; readonly path: string }[] {
  return controlFolders(env)
    .filter(isOwn)
    .flatMap((folder) =>
      readdirSync(folder).flatMap((name) => {
        const pid = /^([0-9]+)\.sock$/.exec(name)?.[1];
        return pid === undefined ? [] : [{ pid: Number(pid), path: join(folder, name) }];
      }),
    );
}

/** In /tmp anybody could have made it first, and would hear what is said. */
function isOwn(folder: string): boolean {
  const status = lstatSync(folder, { throwIfNoEntry: false });
  return status?.isDirectory() === true && status.uid === process.getuid?.() && (status.mode & 0o077) === 0;
}
