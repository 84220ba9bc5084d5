import { expect, test } from 'vitest';
import { metadataProblem, parseMetadata } from './metadata-json.ts';
import { METADATA } from './testing/sample.ts';

test('what the types allow, the schema allows', () => {
  expect(metadataProblem(METADATA)).toBeUndefined();
  const full = {
    ...METADATA,
    host: null,
    guest: { memoryBytes: null, vcpus: null, vmType: null, requests: null, slots: [] },
    workload: { name: 'boot', seed: 1, parameters: { flips: 5, size: '64M' } },
    strategy: { name: 'upm-eager', axes: { discard: 'eager' } },
    backend: { name: 'two-memfd', standIn: true },
    pacing: { mode: 'relative', factor: 0.5 },
    replay: { of: 'a.arrow', round: 0 },
    import: {
      format: 'strace',
      file: '-',
      compressed: 'gzip',
      clock: 'time of day',
      clockOffsetNs: '-1500',
      alignedTo: 'boot.arrow',
    },
  };
  expect(metadataProblem(full)).toBeUndefined();
});

test('what the types do not allow, it refuses', () => {
  const wrong: readonly [unknown, string][] = [
    [[], '/ must be object'],
    [{ ...METADATA, source: 'x' }, '/source must be equal to one of the allowed values'],
    [{ ...METADATA, clock: { ...METADATA.clock, baseNs: '1e9' } }, '/clock/baseNs must match pattern'],
    [
      { ...METADATA, guest: { ...METADATA.guest, slots: [{ gpa: -1, len: 1, offset: 0 }] } },
      '/guest/slots/0/gpa must be >= 0',
    ],
    [{ ...METADATA, pacing: { mode: 'warp', factor: 1 } }, '/pacing/mode'],
    [{ ...METADATA, command: 'cvmtrace' }, '/command must be array'],
    [{ ...METADATA, format: { major: 1, minor: 0.5 } }, '/format/minor must be integer'],
    [{ ...METADATA, backend: { name: 'x' } }, "/backend must have required property 'standIn'"],
  ];
  for (const [value, problem] of wrong) expect(metadataProblem(value)).toContain(problem);
});

test('keys of an object that are special in JavaScript are only keys', () => {
  const json = JSON.stringify(METADATA).replace(/}$/, ',"__proto__":{"polluted":true},"constructor":1}');
  const metadata = parseMetadata(json, 'x');
  expect(Object.keys(metadata)).toContain('__proto__');
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});
