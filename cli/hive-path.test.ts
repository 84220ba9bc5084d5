import { expect, test } from 'vitest';
import type { HostInfo } from '../capture/trace/index.ts';
import { hivePath } from './hive-path.ts';
import { SAMPLE_METADATA } from './testing/sample-trace.ts';

function pathOf(model: string, release: string, emulated = false): string {
  const host = SAMPLE_METADATA.host as HostInfo;
  return hivePath({ host: { ...host, cpu: { ...host.cpu, model }, kernel: { ...host.kernel, release }, emulated } });
}

test.each([
  ['Test_CPU-1.0', '6.18.0', 'host=Test_CPU-1.0/kernel=6.18.0'],
  ['Intel(R) Xeon(R) @ 2.10GHz', '6.1-rc1+', 'host=Intel%28R%29%20Xeon%28R%29%20%40%202.10GHz/kernel=6.1-rc1%2B'],
  ['../../etc', 'a/b=c%2F*', 'host=..%2F..%2Fetc/kernel=a%2Fb%3Dc%252F%2A'],
  ['\u0000\n', ' ', 'host=%00/kernel=unknown'],
  ['é\ud800', '', 'host=%C3%A9%EF%BF%BD/kernel=unknown'],
])('%j and %j', (model, release, path) => {
  expect(pathOf(model, release)).toBe(path);
});

test('an emulated host is not the one that it emulates; an unknown host has folders too', () => {
  expect(pathOf('EPYC', '6.18.0', true)).toBe('host=EPYC%20%28emulated%29/kernel=6.18.0');
  expect(hivePath({ host: null })).toBe('host=unknown/kernel=unknown');
});

test('a name has the length that a file system takes, and no half character', () => {
  const [host = '', kernel = ''] = pathOf('é'.repeat(1000), 'x'.repeat(1000)).split('/');
  expect(host).toBe(`host=${'%C3%A9'.repeat(41)}`);
  expect(kernel.length).toBe(255);
});
