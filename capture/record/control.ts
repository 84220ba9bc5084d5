/** How `cvmtrace mark` talks to a recording: one request and one answer, each a line of JSON, over a socket of the user's own. */
import { existsSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { CvmtraceError } from '../../native/index.ts';
import { CONTROL_VARIABLE, controlSockets, type Environment, makeControlFolder } from './control-folder.ts';
import { MAX_NAME_CHARACTERS } from './phase-lines.ts';

/** A request or an answer is shorter. */
const MAX_LINE_CHARACTERS = 64 * 1024;
const ANSWER_LIMIT_MS = 5_000;

/** What a recording says about itself. */
export interface RecordingInfo {
  /** Process that records. */
  readonly pid: number;
  /** Absolute path of the trace. */
  readonly out: string;
}

export interface ControlServer {
  /** Of the socket; for the target's environment. */
  readonly path: string;
  close(): void;
}

/**
 * Listens for marks until it is closed.
 * @returns undefined where no folder or socket for it can be made: the recording does without
 */
export async function startControl(
  env: Environment,
  info: RecordingInfo,
  onMark: (name: string, tsNs: bigint) => void,
): Promise<ControlServer | undefined> {
  const folder = makeControlFolder(env);
  if (folder === undefined) return undefined;
  for (const socket of controlSockets(env)) await removeIfDead(socket.path);
  const path = join(folder, `${info.pid}.sock`);
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    readLine(socket)
      .then((line) => socket.end(`${JSON.stringify(answer(line, info, onMark))}\n`))
      .catch(() => socket.destroy());
  });
  if (!(await listens(server, path))) return undefined;
  // A recording ends whether or not somebody is connected.
  server.unref();
  return {
    path,
    close: () => {
      server.close();
      rmSync(path, { force: true });
    },
  };
}

/**
 * Sets a mark in a recording, and returns which one it was.
 * @param tsNs CLOCK_MONOTONIC
 * @param pid process that records; undefined: the recording that this process runs in, else the only one there is
 * @throws CvmtraceError NO_INPUT without a recording, USAGE if several could be meant or the name cannot be one
 */
export async function sendMark(env: Environment, name: string, tsNs: bigint, pid?: number): Promise<RecordingInfo> {
  const path = await chooseRecording(env, pid);
  const said = await ask(path, { mark: name, tsNs: String(tsNs) });
  if (isInfo(said)) return said;
  throw new CvmtraceError('USAGE', said?.error ?? 'the recording does not understand this cvmtrace');
}

async function chooseRecording(env: Environment, pid: number | undefined): Promise<string> {
  const inside = env[CONTROL_VARIABLE];
  if (pid === undefined && inside !== undefined && inside !== '') {
    if (existsSync(inside)) return inside;
    throw noRecording('the recording that this runs in has ended');
  }
  const sockets = controlSockets(env).filter((socket) => pid === undefined || socket.pid === pid);
  const live = (
    await Promise.all(sockets.map(async ({ path }) => ({ path, info: await ask(path, {}).catch(() => undefined) })))
  ).filter(({ info }) => isInfo(info));
  const [first, ...others] = live;
  if (first === undefined) {
    throw noRecording(pid === undefined ? 'nothing is being recorded' : `process ${pid} is not recording`);
  }
  if (others.length > 0) {
    const choices = live.flatMap(({ info }) => (isInfo(info) ? [`${info.pid} (${info.out})`] : []));
    throw new CvmtraceError('USAGE', `${live.length} recordings are going on: ${choices.join(', ')}`, {
      hint: 'say which one with --recording PID',
    });
  }
  return first.path;
}

function noRecording(message: string): CvmtraceError {
  return new CvmtraceError('NO_INPUT', message, {
    hint: 'start one with: cvmtrace record -- COMMAND; marks are for the same user only',
  });
}

type Answer = RecordingInfo | { readonly error: string };

function isInfo(value: Answer | undefined): value is RecordingInfo {
  return value !== undefined && 'pid' in value;
}

function answer(line: string, info: RecordingInfo, onMark: (name: string, tsNs: bigint) => void): Answer {
  const request = parseObject(line);
  if (request['mark'] === undefined) return info;
  const { mark, tsNs } = request;
  if (typeof mark !== 'string' || mark === '' || mark.length > MAX_NAME_CHARACTERS)
    return { error: `the name of a mark has 1 to ${MAX_NAME_CHARACTERS} characters` };
  if (typeof tsNs !== 'string' || !/^[0-9]{1,19}$/.test(tsNs)) return { error: 'the time of a mark is not a number' };
  onMark(mark, BigInt(tsNs));
  return info;
}

/** Asks one thing; rejects if nobody answers. */
async function ask(path: string, request: object): Promise<Answer | undefined> {
  const socket = connect(path);
  socket.setTimeout(ANSWER_LIMIT_MS, () => socket.destroy(new Error('no answer')));
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.write(`${JSON.stringify(request)}\n`);
    const { pid, out, error } = parseObject(await readLine(socket));
    if (typeof pid === 'number' && typeof out === 'string') return { pid, out };
    return typeof error === 'string' ? { error } : undefined;
  } catch (cause) {
    throw noRecordingBehind(path, cause);
  } finally {
    socket.destroy();
  }
}

function noRecordingBehind(path: string, cause: unknown): CvmtraceError {
  return new CvmtraceError('NO_INPUT', `no recording answers at ${path}`, {
    cause,
    hint: 'it has ended, or is stopped',
  });
}

function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > MAX_LINE_CHARACTERS) reject(new Error('the line is too long'));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed before the end of the line')));
  });
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** What a recording left that was killed. */
async function removeIfDead(path: string): Promise<void> {
  const socket = connect(path);
  const dead = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(false));
    socket.once('error', (error) => resolve('code' in error && error.code === 'ECONNREFUSED'));
  });
  socket.destroy();
  if (dead) rmSync(path, { force: true });
}

function listens(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(path, () => resolve(true));
  });
}
