import { describe, expect, test } from 'vitest';
import { probe, type ProbeReport } from '../../capture/host/probe.ts';
import { loadNative } from '../../native/index.ts';
import { SAMPLE_METADATA } from '../testing/sample-trace.ts';
import { runCli } from '../testing/run-cli.ts';
import { render } from './probe.ts';

const PLAIN = { heading: String, good: String, bad: String, dim: String };
const { host } = SAMPLE_METADATA;

describe('the report', () => {
  test('says per area what works, what was found and what would change it', () => {
    if (!host) throw new Error('the sample has a host');
    const report: ProbeReport = {
      host: { ...host, hypervisor: 'kvm', emulated: true },
      backends: [
        { name: 'guest-memfd', standIn: false, works: null, missing: [] },
        { name: 'two-memfd', standIn: true, works: true, missing: ['resident-bytes'] },
      ],
      rows: [
        {
          area: 'guest-memfd',
          step: 'open-kvm',
          works: null,
          found: 'not tried: the native addon is not built',
          remedy: 'install make and g++',
        },
        { area: 'two-memfd', step: 'memfd', works: true, found: 'memfd_create, mapped and written' },
        {
          area: 'two-memfd',
          step: 'resident-bytes',
          works: false,
          errno: 'ENOSYS',
          found: 'cachestat: ENOSYS; Linux is older than 6.5, which brought it',
        },
      ],
    };
    expect(render(report, PLAIN, 60)).toBe(`\
Linux 6.18.0, Test CPU, 2 logical CPUs, 24G, under kvm, emulated

backends
  NAME                  STATE    WITHOUT
  guest-memfd           unknown
  two-memfd (stand-in)  works    resident-bytes

guest-memfd
  open-kvm        unknown  not tried: the native addon is
                           not built
                           to change it: install make and
                           g++

two-memfd
  memfd           works    memfd_create, mapped and written
  resident-bytes  missing  cachestat: ENOSYS; Linux is older
                           than 6.5, which brought it
`);
  });
});

test('this host is probed, and --json is what the probe found', async () => {
  const run = await runCli(['probe', '--json']);
  expect(run).toMatchObject({ status: 0, stderr: '' });
  const { rows, backends } = probe(loadNative());
  expect(JSON.parse(run.stdout)).toMatchObject({ schema: 'cvmtrace.probe/1', rows, backends, warnings: [] });
});
