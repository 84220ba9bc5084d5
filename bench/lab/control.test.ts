import { describe, expect, it } from 'vitest';
import { encodeCommand, type Message, MessageReader } from './control.ts';

it('a command is texts that end with NUL, lists by their length', () => {
  const bytes = encodeCommand({
    bind: '8086:10d3',
    terminal: true,
    script: '#!/bin/sh\n',
    shares: [
      { tag: 'share0', path: '/a b' },
      { tag: 'share1', path: '/ü' },
    ],
    folder: '/a b',
    argv: ['sh', '', '-c'],
    env: { HOME: '/root', EMPTY: '', GONE: undefined },
  });
  expect(bytes.toString('utf8').split('\0')).toEqual([
    ...['8086:10d3', '1', '#!/bin/sh\n'],
    ...['4', 'share0', '/a b', 'share1', '/ü'],
    '/a b',
    ...['3', 'sh', '', '-c'],
    ...['2', 'HOME=/root', 'EMPTY='],
    '',
  ]);
});

describe('messages', () => {
  const text = 'alive\nstarted\nfailed cannot mount /süß: ENOENT\nexit 137 5000000000 12\n';
  const messages: Message[] = [
    { kind: 'alive' },
    { kind: 'started' },
    { kind: 'failed', reason: 'cannot mount /süß: ENOENT' },
    { kind: 'exit', status: 137, stdoutBytes: 5_000_000_000, stderrBytes: 12 },
  ];

  it.each([1, 2, 3, 7, 1000])('come out of chunks of %i bytes', (size) => {
    const reader = new MessageReader();
    const bytes = Buffer.from(text);
    const read: Message[] = [];
    for (let at = 0; at < bytes.length; at += size) read.push(...reader.push(bytes.subarray(at, at + size)));
    expect(read).toEqual(messages);
  });

  it('are not guessed before they are whole', () => {
    const reader = new MessageReader();
    expect(reader.push(Buffer.from('exit 1'))).toEqual([]);
    expect(reader.push(Buffer.from('2 3 4\nex'))).toEqual([
      { kind: 'exit', status: 12, stdoutBytes: 3, stderrBytes: 4 },
    ]);
  });
});
