import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { controlFolders, makeControlFolder } from './control-folder.ts';
import { type ControlServer, sendMark, startControl } from './control.ts';

let runtime: string;
let env: Record<string, string>;
let marks: [string, bigint][];
let servers: ControlServer[];

beforeEach(() => {
  runtime = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  env = { XDG_RUNTIME_DIR: runtime, TMPDIR: runtime };
  marks = [];
  servers = [];
});
afterEach(() => {
  for (const server of servers) server.close();
  rmSync(runtime, { recursive: true });
});

async function start(pid: number): Promise<ControlServer> {
  const server = await startControl(env, { pid, out: `/traces/${pid}.arrow` }, (name, tsNs) =>
    marks.push([name, tsNs]),
  );
  if (!server) throw new Error('no control socket');
  servers.push(server);
  return server;
}

test('a mark reaches the only recording, with the time that was given', async () => {
  await start(11);
  expect(await sendMark(env, 'boot', 123n)).toEqual({ pid: 11, out: '/traces/11.arrow' });
  expect(marks).toEqual([['boot', 123n]]);
});

test('the folder and its socket are the user’s own, and gone at the end', async () => {
  const server = await start(11);
  expect(server.path).toBe(join(runtime, 'cvmtrace', '11.sock'));
  expect(statSync(join(runtime, 'cvmtrace')).mode & 0o777).toBe(0o700);
  server.close();
  expect(readdirSync(join(runtime, 'cvmtrace'))).toEqual([]);
});

test('of several recordings one must be named, or be the one around', async () => {
  await start(11);
  const second = await start(12);
  await expect(sendMark(env, 'a', 1n)).rejects.toMatchObject({
    code: 'USAGE',
    message: '2 recordings are going on: 11 (/traces/11.arrow), 12 (/traces/12.arrow)',
  });
  expect(await sendMark(env, 'b', 2n, 11)).toMatchObject({ pid: 11 });
  expect(await sendMark({ ...env, CVMTRACE_CONTROL: second.path }, 'c', 3n)).toMatchObject({ pid: 12 });
  await expect(sendMark(env, 'd', 4n, 13)).rejects.toMatchObject({ code: 'NO_INPUT' });
  expect(marks).toEqual([
    ['b', 2n],
    ['c', 3n],
  ]);
});

test('without a recording it says so', async () => {
  await expect(sendMark(env, 'a', 1n)).rejects.toMatchObject({
    code: 'NO_INPUT',
    message: 'nothing is being recorded',
  });
  await expect(sendMark({ ...env, CVMTRACE_CONTROL: join(runtime, 'gone.sock') }, 'a', 1n)).rejects.toMatchObject({
    code: 'NO_INPUT',
    message: 'the recording that this runs in has ended',
  });
});

test('a name that cannot be one is refused', async () => {
  await start(11);
  await expect(sendMark(env, '', 1n)).rejects.toMatchObject({ code: 'USAGE' });
  await expect(sendMark(env, 'x'.repeat(1001), 1n)).rejects.toMatchObject({ code: 'USAGE' });
  expect(marks).toEqual([]);
});

test('nonsense on the socket is answered or dropped, and the next mark works', async () => {
  const { path } = await start(11);
  for (const text of ['not json\n', '[]\n', '{"mark":5}\n', '{"mark":"a","tsNs":"x"}\n', 'x'.repeat(70_000)]) {
    const socket = connect(path);
    socket.on('error', () => undefined);
    socket.write(text);
    socket.resume();
    await new Promise((resolve) => socket.on('close', resolve));
  }
  await sendMark(env, 'after', 5n);
  expect(marks).toEqual([['after', 5n]]);
});

test('what a killed recording left is removed by the next one, and not asked', async () => {
  const folder = join(runtime, 'cvmtrace');
  mkdirSync(folder, { mode: 0o700 });
  const stale = join(folder, '99.sock');
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(join(folder, 'x'), resolve));
  // Closing removes the name it was bound to; this one stays.
  renameSync(join(folder, 'x'), stale);
  await new Promise((resolve) => dead.close(resolve));
  expect(existsSync(stale)).toBe(true);
  await expect(sendMark(env, 'a', 1n)).rejects.toMatchObject({ code: 'NO_INPUT' });
  await start(11);
  expect(readdirSync(folder)).toEqual(['11.sock']);
});

test('a folder that is not the user’s own, or too long for a socket, is not used', () => {
  const folder = join(runtime, 'cvmtrace');
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  const [, second] = controlFolders(env);
  expect(second).toBe(join(runtime, `cvmtrace-${process.getuid?.()}`));
  expect(makeControlFolder(env)).toBe(second);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, '');
  expect(makeControlFolder(env)).toBe(second);
  const long = `/${'x'.repeat(100)}`;
  expect(controlFolders({ XDG_RUNTIME_DIR: long, TMPDIR: long })).toEqual([`/tmp/cvmtrace-${process.getuid?.()}`]);
  expect(controlFolders({ XDG_RUNTIME_DIR: 'relative' })).toHaveLength(1);
});
